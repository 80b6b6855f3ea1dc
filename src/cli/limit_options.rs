//! The limits of a server, as the command line and the environment give them. Names, bounds and
//! defaults stand in the table of settings (`command/setting_table.rs`).

use clap::Args;

/// What clients may do; each is also a setting of the same name that `CONFIG SET` changes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitOptions {
    /// The most connections at a time [default: 10000]
    #[arg(long, env = "NOWTHEN_MAXCLIENTS", value_name = "N")]
    pub maxclients: Option<String>,
    /// The most memory for rows; above it, writes that may need more are refused [default: 0, none]
    #[arg(long, env = "NOWTHEN_MAXMEMORY", value_name = "SIZE")]
    pub maxmemory: Option<String>,
    /// About what FS.ASOF may take beside its spine; more is done in parts [default: 0, any]
    #[arg(long, env = "NOWTHEN_ASOF_MEMORY", value_name = "SIZE")]
    pub asof_memory: Option<String>,
    /// Seconds of silence after which the kernel asks whether a client is there [default: 300]
    #[arg(long, env = "NOWTHEN_TCP_KEEPALIVE", value_name = "SECONDS")]
    pub tcp_keepalive: Option<String>,
    /// Seconds without a request after which a client is closed; 0 for never [default: 0]
    #[arg(long, env = "NOWTHEN_TIMEOUT", value_name = "SECONDS")]
    pub timeout: Option<String>,
    /// Seconds in which a request must be whole, and again for each MiB of it [default: 30]
    #[arg(long, env = "NOWTHEN_PARTIAL_COMMAND_TIMEOUT", value_name = "SECONDS")]
    pub partial_command_timeout: Option<String>,
    /// Seconds after which a client must have taken some of its replies [default: 60]
    #[arg(long, env = "NOWTHEN_WRITE_TIMEOUT", value_name = "SECONDS")]
    pub write_timeout: Option<String>,
    /// What a client may leave unread: `normal HARD SOFT SECONDS` [default: normal 64mb 16mb 30]
    #[arg(long, env = "NOWTHEN_CLIENT_OUTPUT_BUFFER_LIMIT", value_name = "LIMIT")]
    pub client_output_buffer_limit: Option<String>,
    /// The longest reply; a client that asks for more is closed [default: 512mb]
    #[arg(long, env = "NOWTHEN_REPLY_MAX_LEN", value_name = "SIZE")]
    pub reply_max_len: Option<String>,
    /// What Redis clients must say with AUTH; HTTP does not ask for it [default: none]
    #[arg(long, env = "NOWTHEN_REQUIREPASS", value_name = "PASSWORD", hide_env_values = true)]
    pub requirepass: Option<String>,
    /// Seconds in which a client must have said it [default: 5]
    #[arg(long, env = "NOWTHEN_LOGIN_TIMEOUT", value_name = "SECONDS")]
    pub login_timeout: Option<String>,
    /// The most arguments of a request until then [default: 10]
    #[arg(long, env = "NOWTHEN_LOGIN_ARGUMENTS_MAX", value_name = "N")]
    pub login_arguments_max: Option<String>,
    /// The longest argument until then [default: 16kb]
    #[arg(long, env = "NOWTHEN_LOGIN_BULK_MAX_LEN", value_name = "SIZE")]
    pub login_bulk_max_len: Option<String>,
    /// The most bytes a client may send until then [default: 1mb]
    #[arg(long, env = "NOWTHEN_LOGIN_MAX_LEN", value_name = "SIZE")]
    pub login_max_len: Option<String>,
    /// The longest argument [default: 64mb]
    #[arg(long, env = "NOWTHEN_PROTO_MAX_BULK_LEN", value_name = "SIZE")]
    pub proto_max_bulk_len: Option<String>,
    /// The longest request [default: 256mb]
    #[arg(long, env = "NOWTHEN_CLIENT_QUERY_BUFFER_LIMIT", value_name = "SIZE")]
    pub client_query_buffer_limit: Option<String>,
    /// The most arguments of a request [default: 1048576]
    #[arg(long, env = "NOWTHEN_ARGUMENTS_MAX", value_name = "N")]
    pub arguments_max: Option<String>,
    /// The longest inline command [default: 64kb]
    #[arg(long, env = "NOWTHEN_INLINE_MAX_LEN", value_name = "SIZE")]
    pub inline_max_len: Option<String>,
}

impl LimitOptions {
    /// Those that were given, by the names of settings.
    pub(super) fn pairs(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("maxclients", &self.maxclients),
            ("maxmemory", &self.maxmemory),
            ("asof-memory", &self.asof_memory),
            ("tcp-keepalive", &self.tcp_keepalive),
            ("timeout", &self.timeout),
            ("partial-command-timeout", &self.partial_command_timeout),
            ("write-timeout", &self.write_timeout),
            ("client-output-buffer-limit", &self.client_output_buffer_limit),
            ("reply-max-len", &self.reply_max_len),
            ("requirepass", &self.requirepass),
            ("login-timeout", &self.login_timeout),
            ("login-arguments-max", &self.login_arguments_max),
            ("login-bulk-max-len", &self.login_bulk_max_len),
            ("login-max-len", &self.login_max_len),
            ("proto-max-bulk-len", &self.proto_max_bulk_len),
            ("client-query-buffer-limit", &self.client_query_buffer_limit),
            ("arguments-max", &self.arguments_max),
            ("inline-max-len", &self.inline_max_len),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}
