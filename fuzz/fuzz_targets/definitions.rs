//! Any text is refused with an error, or is a feature repository whose canonical text means the
//! same; and that text is canonical already.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nowthen::registry::{DefinitionFile, canonical_text, parse_repository};

fuzz_target!(|text: &str| {
    let Ok(definitions) = parse_repository(&[file(text)]) else { return };
    let canonical = canonical_text(&definitions);
    match parse_repository(&[file(&canonical)]) {
        Ok(again) => {
            assert_eq!(again, definitions, "{canonical}");
            assert_eq!(canonical_text(&again), canonical);
        }
        Err(error) => panic!("canonical text is refused: {error:?}\n{canonical}"),
    }
});

fn file(text: &str) -> DefinitionFile {
    DefinitionFile { path: "fuzz.toml".into(), text: text.into() }
}
