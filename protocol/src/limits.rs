//! What a client may send.

/// What a client may send. Each limit is checked before the bytes it is about are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The longest argument, in bytes.
    pub bulk_bytes_max: usize,
    /// The most arguments of a request, the command's name included.
    pub arguments_max: usize,
    /// The longest line, in bytes: of an inline command, and of a count or a length.
    pub inline_bytes_max: usize,
    /// The longest request, in bytes, framing included.
    pub request_bytes_max: usize,
    /// Whether the client has logged in or need not. If not, errors say so, as in Redis.
    pub authenticated: bool,
}

impl RequestLimits {
    /// For clients that may run commands.
    pub const DEFAULT: Self = Self {
        bulk_bytes_max: 64 << 20,
        arguments_max: 1 << 20,
        inline_bytes_max: 64 << 10,
        request_bytes_max: 256 << 20,
        authenticated: true,
    };

    /// For clients that must log in first: room for `HELLO 3 AUTH user password SETNAME name`.
    pub const BEFORE_AUTHENTICATION: Self = Self {
        bulk_bytes_max: 16 << 10,
        arguments_max: 10,
        inline_bytes_max: 64 << 10,
        request_bytes_max: 1 << 20,
        authenticated: false,
    };
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
