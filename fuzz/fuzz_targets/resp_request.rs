//! Any bytes, however cut, give the same requests and the same error; and a request that was read
//! reads back the same when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nowthen_protocol::{KnownLists, ProtocolError, RequestLimits, RequestParser, encode_request};

type Requests = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    let lists = &mut KnownLists::new();
    let whole = requests(bytes, bytes.len().max(1), lists);
    let in_pieces = requests(bytes, 1 + usize::from(*cut), lists);
    assert_eq!(whole, in_pieces);

    let mut written = Vec::new();
    for request in &whole.0 {
        encode_request(request, &mut written);
    }
    assert_eq!(requests(&written, written.len().max(1), lists), (whole.0, None));
});

/// The requests in a stream that arrives in pieces of one length, by a parser that has met `lists`.
fn requests(bytes: &[u8], piece_bytes: usize, lists: &mut KnownLists) -> Requests {
    let mut parser = RequestParser::new(RequestLimits::DEFAULT);
    let (mut buffer, mut requests) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece_bytes) {
        buffer.extend_from_slice(piece);
        loop {
            match parser.parse_known(&buffer, lists) {
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
                Ok(Some(parsed)) => {
                    let arguments = parser.arguments(&buffer);
                    assert_eq!(arguments.len(), parsed.arguments_count);
                    if !arguments.is_empty() {
                        requests.push(arguments.iter().map(<[u8]>::to_vec).collect());
                    }
                    assert!(parsed.consumed > 0, "a request without bytes would never end");
                    buffer.drain(..parsed.consumed);
                }
            }
        }
    }
    (requests, None)
}
