//! What a listing tells of an object.

/// An object as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its whole name.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, in ns since 1970.
    pub modified_ns: i64,
    /// What the store says of its contents, if it does: other contents have another one.
    pub tag: Option<String>,
}
