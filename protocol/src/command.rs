//! Requests as a client sends them: an array of bulk strings.

use crate::number::write_header;

/// Appends one request to `out`: the command's name and its arguments, any bytes whatever.
///
/// ```
/// let mut out = Vec::new();
/// nowthen_protocol::encode_request(&["HLEN", "user:1"], &mut out);
/// assert_eq!(out, b"*2\r\n$4\r\nHLEN\r\n$6\r\nuser:1\r\n");
/// ```
pub fn encode_request<A: AsRef<[u8]>>(arguments: &[A], out: &mut Vec<u8>) {
    write_header(b'*', arguments.len(), out);
    for argument in arguments {
        let argument = argument.as_ref();
        write_header(b'$', argument.len(), out);
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}
