//! Where the server is and who asks: `redis://user:password@host:port/database`, or `host:port`.
//!
//! Invariant: no error repeats the URL, because a password may be in it. For the same reason
//! [`Address`] cannot be printed with `{:?}`; its `{}` is host and port only.

use std::fmt;

use crate::error::{ClientError, Result};

const PORT_DEFAULT: u16 = 6379;
/// The user that a password without a user belongs to, as in Redis.
const USER_DEFAULT: &str = "default";

/// A server, and how to log in there.
#[cfg_attr(test, derive(PartialEq))]
pub struct Address {
    /// A name, or an address without brackets.
    pub host: String,
    /// 6379 if the URL names none.
    pub port: u16,
    /// None if the URL names none.
    pub login: Option<Login>,
    /// 0 if the URL names none.
    pub database: u32,
}

/// What `AUTH` asks for.
#[cfg_attr(test, derive(PartialEq))]
pub struct Login {
    /// `default` if only a password is named.
    pub user: String,
    /// As it is said, without escapes.
    pub password: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Address {
    /// The address that `url` names.
    pub fn parse(url: &str) -> Result<Self> {
        let rest = match url.split_once("://") {
            None => url,
            Some(("redis", rest)) => rest,
            Some(("rediss", _)) => {
                return refused("rediss:// (TLS) is not known to this client; use redis://");
            }
            Some(_) => return refused("the URL starts with an unknown scheme; use redis://"),
        };
        let (login, rest) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, rest)) => (Some(parse_login(login)?), rest),
        };
        let (server, database) = match rest.split_once('/') {
            None | Some((_, "")) => (rest.trim_end_matches('/'), 0),
            Some((server, database)) => match database.parse() {
                Ok(database) => (server, database),
                Err(_) => return refused("after the '/' of a URL stands a database's number"),
            },
        };
        let (host, port) = parse_server(server)?;
        Ok(Self { host: host.to_owned(), port, login, database })
    }
}

fn refused<T>(why: &str) -> Result<T> {
    Err(ClientError::Url { why: why.to_owned() })
}

fn parse_login(text: &str) -> Result<Login> {
    let Some((user, password)) = text.split_once(':') else {
        return refused("a login in a URL is user:password@ or :password@");
    };
    let user = if user.is_empty() { USER_DEFAULT.to_owned() } else { percent_decode(user)? };
    Ok(Login { user, password: percent_decode(password)? })
}

fn parse_server(text: &str) -> Result<(&str, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        // An address of IPv6 has colons of its own, so it stands in brackets.
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => (host, port),
            None => return refused("a '[' in a URL has no ']'"),
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if host.is_empty() {
        return refused("there is no host in the URL; write redis://host:port");
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok((host, PORT_DEFAULT)),
        Some(port) => match port.parse() {
            Ok(port) => Ok((host, port)),
            Err(_) => refused("a port is a number from 0 to 65535; write redis://host:port"),
        },
        None => refused("after the ']' of a URL stands a ':' and the port"),
    }
}

/// `text` with each `%41` made the `A` it stands for.
fn percent_decode(text: &str) -> Result<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return refused("after a '%' of a login stand two hexadecimal digits; '%' is %25");
        };
        bytes.push(byte);
        bytes.extend_from_slice(piece.get(2..).unwrap_or_default().as_bytes());
    }
    String::from_utf8(bytes).or_else(|_| refused("user and password of a URL are UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, host: &str, port: u16, login: Option<(&str, &str)>, database: u32) {
        let wanted = Address {
            host: host.to_owned(),
            port,
            login: login.map(|(user, password)| Login {
                user: user.to_owned(),
                password: password.to_owned(),
            }),
            database,
        };
        let got = Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert!(got == wanted, "{url}");
    }

    #[test]
    fn a_url_may_leave_out_all_but_the_host() {
        check("localhost", "localhost", 6379, None, 0);
        check("10.0.0.1:7000", "10.0.0.1", 7000, None, 0);
        check("redis://h", "h", 6379, None, 0);
        check("redis://h:1/", "h", 1, None, 0);
        check("redis://h:1/3", "h", 1, None, 3);
        check("redis://[::1]:7000/3", "::1", 7000, None, 3);
        check("[::1]", "::1", 6379, None, 0);
    }

    #[test]
    fn a_login_may_hold_any_character() {
        check("redis://u:p@h:1", "h", 1, Some(("u", "p")), 0);
        check("redis://:p@h", "h", 6379, Some(("default", "p")), 0);
        check("redis://u%3a:a%40:%25@b@h", "h", 6379, Some(("u:", "a@:%@b")), 0);
    }

    #[test]
    fn a_url_that_is_wrong_is_refused_without_showing_its_password() {
        for url in [
            "",
            "redis://",
            "http://u:hunter2@h",
            "rediss://u:hunter2@h",
            "redis://hunter2@h",
            "redis://u:hunter2%@h",
            "redis://u:hunter2%f@h",
            "redis://u:hunter2%ff@h",
            "redis://u:hunter2@h:x",
            "redis://u:hunter2@h:70000",
            "redis://u:hunter2@h/x",
            "redis://u:hunter2@[::1",
            "redis://u:hunter2@[::1]x",
        ] {
            let Err(error) = Address::parse(url) else { panic!("{url} was taken") };
            assert!(matches!(error, ClientError::Url { .. }), "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
