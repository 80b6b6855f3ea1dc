//! Listening on one port from several threads.

use crate::error::{Error, Result};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// So many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// `count` listeners on the same address; the kernel spreads connections over them. Port 0 takes a
/// free one.
pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>> {
    let refuse = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => Error::refused(format!(
            "port {} of {} is in use; stop what listens there, or choose another port",
            address.port(),
            address.ip()
        )),
        _ => Error::refused(format!("cannot listen on {address}: {error}")),
    };
    // Sockets that share a port never complain of one another, so the first look does not share.
    // Nor does it listen: a client that came to it would be lost with it.
    let alone = bound(address, false).map_err(refuse)?;
    let address = alone.local_addr().map_err(refuse)?.as_socket().unwrap_or(address);
    drop(alone);
    (0..count).map(|_| listening(address).map_err(refuse)).collect()
}

fn listening(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr, is_shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The port that listeners have.
pub fn bound_port(listeners: &[TcpListener]) -> u16 {
    listeners
        .first()
        .and_then(|listener| listener.local_addr().ok())
        .map_or(0, |address| address.port())
}
