//! Sockets: listener, connection, shutdown.
