//! A client: connects, logs in, and runs any command.
//!
//! Not here: helpers for particular commands (`commands.rs`), moving bytes (`connection.rs`).

use std::{io, time::Duration};

use nowthen_protocol::{Value, encode_request};

use crate::{
    address::Address,
    connection::Connection,
    error::{ClientError, Result},
};

/// How long connecting and logging in may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a server. Commands on it run one after the other; for several at once, connect
/// several times, or send them as one [`Client::pipeline`].
///
/// A future that is dropped before its reply came leaves the connection unusable
/// ([`ClientError::Abandoned`]): what arrives next would be the reply to the dropped command.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
}

impl Client {
    /// Connects to `redis://[user:password@]host:port[/database]` or `host:port`, logs in, and
    /// asks for RESP3. Gives up after five seconds.
    pub async fn connect(url: &str) -> Result<Self> {
        let address = Address::parse(url)?;
        match tokio::time::timeout(CONNECT_TIMEOUT, Self::connect_to(&address)).await {
            Ok(connected) => connected,
            Err(_) => {
                let why = format!("no answer in {} s", CONNECT_TIMEOUT.as_secs());
                let source = io::Error::new(io::ErrorKind::TimedOut, why);
                Err(ClientError::Connect { address: address.to_string(), source })
            }
        }
    }

    async fn connect_to(address: &Address) -> Result<Self> {
        let connection = Connection::open(&address.host, address.port, address.to_string()).await?;
        let mut client = Self { connection };
        let mut hello = vec!["HELLO", "3"];
        if let Some(login) = &address.login {
            hello.extend(["AUTH", &login.user, &login.password]);
        }
        client.command(&hello).await.map_err(explain_hello)?;
        if address.database != 0 {
            client.command(&["SELECT", &address.database.to_string()]).await?;
        }
        Ok(client)
    }

    /// Runs one command, its name first. What the server refuses is [`ClientError::Server`].
    ///
    /// ```no_run
    /// # async fn example() -> nowthen_client::Result<()> {
    /// let mut client = nowthen_client::Client::connect("127.0.0.1:6379").await?;
    /// let length = client.command(&["HLEN", "user:8a2f"]).await?.as_integer();
    /// # Ok(())
    /// # }
    /// ```
    pub async fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Result<Value> {
        let mut replies = self.send(&[arguments]).await?;
        match replies.pop() {
            Some(Value::Error(text)) => Err(ClientError::server(&text)),
            Some(reply) => Ok(reply),
            None => Err(ClientError::protocol("the server sent no reply")),
        }
    }

    /// Sends all commands at once and gives their replies in the same order. What the server
    /// refuses is a [`Value::Error`] in its place, so that the others are not lost.
    pub async fn pipeline<A: AsRef<[u8]>>(&mut self, commands: Vec<Vec<A>>) -> Result<Vec<Value>> {
        self.send(&commands).await
    }

    async fn send<A, C>(&mut self, commands: &[C]) -> Result<Vec<Value>>
    where
        A: AsRef<[u8]>,
        C: AsRef<[A]>,
    {
        let mut requests = Vec::new();
        for command in commands {
            // The server drops an empty request without a reply, and we would wait for ever.
            if command.as_ref().is_empty() {
                return Err(ClientError::request("a command has a name, and this one is empty"));
            }
            encode_request(command.as_ref(), &mut requests);
        }
        self.connection.exchange(&requests, commands.len()).await
    }
}

/// A server that does not know `HELLO 3` says so in words that help nobody.
fn explain_hello(error: ClientError) -> ClientError {
    match error {
        ClientError::Server { code, message }
            if code == "NOPROTO" || message.to_lowercase().starts_with("unknown command") =>
        {
            ClientError::protocol(format!(
                "the server refuses HELLO 3, which this client needs ({code} {message})"
            ))
        }
        other => other,
    }
}
