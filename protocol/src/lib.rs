//! RESP2 and RESP3 as a server needs them: requests parsed in place, replies written straight out.
