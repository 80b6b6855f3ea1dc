//! CLIENT KILL: ends connections, idle ones too, at once.

use super::{
    arguments::{Args, is_word, syntax},
    client_list::{ClientType, age_seconds},
    context::Context,
    session::ClientInfo,
};
use crate::error::{Error, Result, echo_word};
use nowthen_protocol::{Reply, parse_integer};

/// Which connections are to end: those that are all of what is said.
#[derive(Debug, Default)]
struct Filter<'a> {
    id: Option<u64>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    client_type: Option<ClientType>,
    age_seconds_min: Option<i64>,
    is_caller_spared: bool,
}

/// `CLIENT KILL ip:port`: OK, or an error if there is none. `CLIENT KILL [ID id] [ADDR ip:port]
/// [LADDR ip:port] [TYPE type] [USER name] [MAXAGE seconds] [SKIPME YES|NO]`: how many.
pub(super) fn kill(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let is_old_form = args.len() == 1;
    let filter = if is_old_form {
        Filter { address: args.pop(), ..Filter::default() }
    } else {
        read_filter(args)?
    };
    let own_id = ctx.session.info.id;
    let mut killed = 0;
    // Who is killed is nobody any more, whenever the connection itself ends.
    ctx.app.clients.lock().retain(|id, info| {
        let is_own = *id == own_id;
        if !filter.is_met_by(info) || is_own && filter.is_caller_spared {
            return true;
        }
        killed += 1;
        if is_own {
            // It is told so before it ends.
            ctx.session.is_closing = true;
        } else {
            info.killed.notify_one();
        }
        is_own
    });
    match (is_old_form, killed) {
        (false, killed) => reply.integer(killed),
        (true, 0) => return Err(Error::refused("No such client")),
        (true, _) => reply.ok(),
    }
    Ok(())
}

fn read_filter<'a>(args: &mut Args<'a>) -> Result<Filter<'a>> {
    let mut filter = Filter { is_caller_spared: true, ..Filter::default() };
    while let Some(option) = args.pop() {
        let value = args.next()?;
        match option.to_ascii_lowercase().as_slice() {
            b"id" => {
                let id = parse_integer(value).and_then(|id| u64::try_from(id).ok());
                let id = id.filter(|id| *id > 0);
                let why = "client-id should be greater than 0";
                filter.id = Some(id.ok_or_else(|| Error::refused(why))?);
            }
            b"addr" => filter.address = Some(value),
            b"laddr" => filter.local_address = Some(value),
            b"type" => filter.client_type = Some(ClientType::named(value)?),
            b"user" if value == b"default" => {}
            b"user" => {
                return Err(Error::refused(format!("No such user {}", echo_word(value))));
            }
            b"maxage" => {
                let why = "maxage is not an integer or out of range";
                let age = parse_integer(value).ok_or_else(|| Error::refused(why))?;
                if age <= 0 {
                    return Err(Error::refused("maxage should be greater than 0"));
                }
                filter.age_seconds_min = Some(age);
            }
            b"skipme" if is_word(value, "YES") => filter.is_caller_spared = true,
            b"skipme" if is_word(value, "NO") => filter.is_caller_spared = false,
            _ => return Err(syntax()),
        }
    }
    Ok(filter)
}

impl Filter<'_> {
    fn is_met_by(&self, info: &ClientInfo) -> bool {
        let is = |wanted: Option<&[u8]>, address: std::net::SocketAddr| {
            wanted.is_none_or(|wanted| wanted == address.to_string().as_bytes())
        };
        self.id.is_none_or(|id| id == info.id)
            && is(self.address, info.peer)
            && is(self.local_address, info.local)
            && self.client_type.is_none_or(|wanted| wanted == ClientType::Normal)
            && self.age_seconds_min.is_none_or(|least| age_seconds(info) >= least)
    }
}
