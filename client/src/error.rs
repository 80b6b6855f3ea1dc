//! What can go wrong for a client, sorted by who must act.
//!
//! Invariant: no text holds a password, nor the URL it came in.

use std::{fmt, io};

use nowthen_protocol::{ProtocolError, Value};

/// The result of everything here that can fail.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

/// Why there is no answer. [`fmt::Display`] tells what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL cannot be understood; the caller writes it differently.
    Url {
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// Nobody answers at the address; whoever runs the server acts.
    Connect {
        /// Host and port.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// What the caller asks for makes no request; nothing was sent.
    Request {
        /// What is wrong with it.
        why: String,
    },
    /// The server refused. The connection is as good as before.
    Server {
        /// For programs: `ERR`, `WRONGTYPE`, `NOAUTH`.
        code: String,
        /// For people.
        message: String,
    },
    /// The server's answer is not what this client understands; their versions differ, or the
    /// address is another program's.
    Protocol {
        /// What was expected.
        why: String,
    },
    /// The connection broke, and whether the server acted on the last request is unknown.
    Io {
        /// Host and port.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// An earlier command on this connection failed half way, or its future was dropped before
    /// its reply came. Replies can no longer be told apart; the caller connects anew.
    Abandoned,
}

impl ClientError {
    pub(crate) fn protocol(why: impl Into<String>) -> Self {
        Self::Protocol { why: why.into() }
    }

    pub(crate) fn request(why: impl Into<String>) -> Self {
        Self::Request { why: why.into() }
    }

    /// The error that the server wrote as `text`.
    pub(crate) fn server(text: &str) -> Self {
        let (code, message) = text.split_once(' ').unwrap_or((text, ""));
        Self::Server { code: code.to_owned(), message: message.to_owned() }
    }
}

impl From<ProtocolError> for ClientError {
    fn from(error: ProtocolError) -> Self {
        Self::protocol(error.to_string())
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { why } | Self::Request { why } => f.write_str(why),
            Self::Connect { address, source } => {
                let (said, advice) = match source.kind() {
                    io::ErrorKind::ConnectionRefused => {
                        ("connection refused".to_owned(), "is `nowthen serve` running there?")
                    }
                    io::ErrorKind::TimedOut => {
                        (source.to_string(), "is a firewall between, or is the server overloaded?")
                    }
                    _ => (source.to_string(), "is the address right?"),
                };
                write!(f, "cannot reach {address}: {said}; {advice}")
            }
            Self::Server { code, message } => {
                write!(f, "{code} {message}")?;
                f.write_str(match code.as_str() {
                    "NOAUTH" => "; put a login into the URL: redis://user:password@host:port",
                    "WRONGPASS" => "; check user and password in the URL",
                    _ => "",
                })
            }
            Self::Protocol { why } => {
                write!(f, "{why}; is this a nowthen server of the client's version?")
            }
            Self::Io { address, source } => {
                write!(f, "lost the connection to {address}: {source}; connect again, and repeat")?;
                f.write_str(" only what may be done twice")
            }
            Self::Abandoned => f.write_str(
                "an earlier command on this connection was given up before its reply came; \
                 connect again",
            ),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { source, .. } | Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// `wanted`, or an error that says what came instead of it.
pub(crate) fn expected<T>(wanted: Option<T>, what: &str, got: &Value) -> Result<T> {
    wanted.ok_or_else(|| {
        let kind = match got {
            Value::Null => "null",
            Value::Simple(_) | Value::Bulk(_) | Value::Verbatim(_) => "a text",
            Value::Error(text) => return ClientError::server(text),
            Value::Integer(_) | Value::BigNumber(_) => "an integer",
            Value::Double(_) => "a double",
            Value::Boolean(_) => "a boolean",
            Value::Array(_) | Value::Set(_) | Value::Push(_) => "a list",
            Value::Map(_) => "a map",
        };
        ClientError::protocol(format!("the server replied with {kind} instead of {what}"))
    })
}
