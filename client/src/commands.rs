//! Helpers for the commands that programs use most: arguments in the right order, replies typed.
//!
//! Not here: what the commands do (`protocol/PROTOCOL.md`, and the server's `COMMAND DOCS`).

use std::borrow::Cow;

use nowthen_protocol::Value;

use crate::{
    client::Client,
    error::{ClientError, Result, expected},
    feature_matrix::FeatureMatrix,
    feature_rows::FeatureRows,
};

impl Client {
    /// `HMGET`: the fields of a hash or the features of an entity, in the order asked; `None`
    /// where there is no value, or none young enough.
    pub async fn hmget<F: AsRef<[u8]>>(
        &mut self,
        key: impl AsRef<[u8]>,
        fields: &[F],
    ) -> Result<Vec<Option<Vec<u8>>>> {
        let mut arguments: Vec<&[u8]> = vec![b"HMGET", key.as_ref()];
        arguments.extend(fields.iter().map(AsRef::as_ref));
        let values = list(self.command(&arguments).await?)?;
        if values.len() != fields.len() {
            return Err(ClientError::protocol(format!(
                "the server replied with {} values instead of {}",
                values.len(),
                fields.len()
            )));
        }
        values.into_iter().map(bytes_or_null).collect()
    }

    /// `HSET`: writes fields of a hash or features of an entity, and gives how many are new.
    pub async fn hset<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        key: impl AsRef<[u8]>,
        values: &[(F, V)],
    ) -> Result<i64> {
        let mut arguments: Vec<&[u8]> = vec![b"HSET", key.as_ref()];
        arguments.extend(values.iter().flat_map(|(field, value)| [field.as_ref(), value.as_ref()]));
        let reply = self.command(&arguments).await?;
        expected(reply.as_integer(), "an integer", &reply)
    }

    /// `FS.APPLY`: makes the definitions of a feature repository true, all or nothing, and tells
    /// what changed, for people. With `dry_run` it only tells what would.
    pub async fn apply(&mut self, definitions: &str, dry_run: bool) -> Result<String> {
        let mut arguments = vec!["FS.APPLY", definitions];
        if dry_run {
            arguments.push("DRYRUN");
        }
        let reply = self.command(&arguments).await?;
        expected(reply.as_text(), "a text", &reply).map(str::to_owned)
    }

    /// `FS.LOAD`: writes the rows of an Arrow IPC stream to a view, all or none. Gives how many
    /// were applied, and how many are older than what is online.
    pub async fn load(&mut self, view: &str, stream: &[u8]) -> Result<(i64, i64)> {
        let reply = self.command(&[b"FS.LOAD", view.as_bytes(), stream]).await?;
        let counts: Vec<Option<i64>> =
            list(reply)?.iter().map(|count| count.as_integer()).collect();
        match counts.as_slice() {
            [Some(applied), Some(late)] => Ok((*applied, *late)),
            _ => Err(ClientError::protocol("the server replied without two numbers of rows")),
        }
    }

    /// `FS.MATERIALIZE`: brings the newest values of `view` (or of all, for `*`) online. Times are
    /// ISO-8601 or microseconds since 1970. One answer per view; with `wait` they come when the
    /// runs have ended.
    pub async fn materialize(
        &mut self,
        view: &str,
        from: Option<&str>,
        to: Option<&str>,
        wait: bool,
    ) -> Result<Vec<Vec<(String, Value)>>> {
        let mut arguments = vec!["FS.MATERIALIZE", view];
        arguments.extend(from.into_iter().flat_map(|time| ["FROM", time]));
        arguments.extend(to.into_iter().flat_map(|time| ["TO", time]));
        if wait {
            arguments.push("WAIT");
        }
        list(self.command(&arguments).await?)?.into_iter().map(named).collect()
    }

    /// `FS.RUNS`: what was materialized, of `view` or of all, the newest run first; at most
    /// `count` of them.
    pub async fn runs(
        &mut self,
        view: Option<&str>,
        count: Option<usize>,
    ) -> Result<Vec<Vec<(String, Value)>>> {
        let count = count.map(|count| count.to_string());
        let mut arguments = vec!["FS.RUNS"];
        arguments.extend(view);
        arguments.extend(count.iter().flat_map(|count| ["COUNT", count.as_str()]));
        list(self.command(&arguments).await?)?.into_iter().map(named).collect()
    }

    /// `FS.GET`: `features` for each of `rows`, which hold a value per join key; as of now, or as
    /// of `at` (ISO-8601 or microseconds since 1970).
    ///
    /// ```no_run
    /// # async fn example(mut client: nowthen_client::Client) -> nowthen_client::Result<()> {
    /// let rows = [["8a2f"], ["9b00"]];
    /// let found = client.get_online_features(&["spend"], &["user_id"], &rows, None).await?;
    /// for row in &found.rows {
    ///     println!("{:?}", row.first());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_online_features<R, V>(
        &mut self,
        features: &[&str],
        join_keys: &[&str],
        rows: &[R],
        at: Option<&str>,
    ) -> Result<FeatureRows>
    where
        R: AsRef<[V]>,
        V: AsRef<[u8]>,
    {
        let mut arguments = get_request(features, join_keys, rows, at)?;
        arguments.extend([b"WITHSTATUS", &b"WITHTIME"[..]].map(Cow::Borrowed));
        FeatureRows::from_reply(self.command(&arguments).await?, features, rows.len())
    }

    /// `FS.GET ... AS VECTOR`: the same features as one matrix of numbers. Text is refused, and a
    /// list such as `float32[128]` is as many columns.
    pub async fn get_feature_matrix<R, V>(
        &mut self,
        features: &[&str],
        join_keys: &[&str],
        rows: &[R],
        at: Option<&str>,
    ) -> Result<FeatureMatrix>
    where
        R: AsRef<[V]>,
        V: AsRef<[u8]>,
    {
        let mut arguments = get_request(features, join_keys, rows, at)?;
        arguments.extend([b"AS", &b"VECTOR"[..]].map(Cow::Borrowed));
        FeatureMatrix::from_reply(&self.command(&arguments).await?, rows.len())
    }
}

/// The arguments of `FS.GET`, but for those that say in which form the answer is wanted.
fn get_request<'a, R, V>(
    features: &'a [&str],
    join_keys: &'a [&str],
    rows: &'a [R],
    at: Option<&'a str>,
) -> Result<Vec<Cow<'a, [u8]>>>
where
    R: AsRef<[V]>,
    V: AsRef<[u8]> + 'a,
{
    // A flat list of values would hide that one row lacks what another has too many of.
    for (row_index, row) in rows.iter().enumerate() {
        let (values, keys) = (row.as_ref().len(), join_keys.len());
        if values != keys {
            let why = format!("row {row_index} has {values} values for {keys} join keys");
            return Err(ClientError::request(why));
        }
    }
    let count = |count: usize| Cow::Owned(count.to_string().into_bytes());
    let word = |word: &'a str| Cow::Borrowed(word.as_bytes());
    let mut arguments = vec![word("FS.GET"), word("FEATURES"), count(features.len())];
    arguments.extend(features.iter().map(|feature| word(feature)));
    arguments.extend([word("FOR"), count(join_keys.len())]);
    arguments.extend(join_keys.iter().map(|join_key| word(join_key)));
    arguments.extend([word("ROWS"), count(rows.len())]);
    let values = rows.iter().flat_map(|row| row.as_ref());
    arguments.extend(values.map(|value| Cow::Borrowed(value.as_ref())));
    arguments.extend(at.into_iter().flat_map(|time| [word("AT"), word(time)]));
    Ok(arguments)
}

fn list(reply: Value) -> Result<Vec<Value>> {
    match reply {
        Value::Array(values) | Value::Set(values) => Ok(values),
        other => expected(None, "an array", &other),
    }
}

/// A map with names for keys.
fn named(reply: Value) -> Result<Vec<(String, Value)>> {
    let Value::Map(pairs) = reply else { return expected(None, "a map", &reply) };
    pairs
        .into_iter()
        .map(|(key, value)| Ok((expected(key.as_text(), "a name", &key)?.to_owned(), value)))
        .collect()
}

fn bytes_or_null(value: Value) -> Result<Option<Vec<u8>>> {
    match value {
        Value::Null => Ok(None),
        Value::Bulk(bytes) | Value::Verbatim(bytes) => Ok(Some(bytes)),
        other => expected(other.as_bytes(), "a text", &other).map(|bytes| Some(bytes.to_vec())),
    }
}
