//! Replays the corpora: what the fuzzer found interesting once, and each input that ever failed.

use std::fs;
use std::path::Path;

use easydarwin_fuzz_targets::TARGETS;

/// One test, because targets measure the memory of the whole process.
#[test]
fn no_target_fails_on_its_corpus() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (name, target) in TARGETS {
        let folder = corpora.join(name);
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(files.len() >= 3, "{name} has only {} seeds", files.len());
        for file in files {
            let data = fs::read(&file).unwrap();
            // Said when it fails: the panic alone does not name the input.
            println!("{}", file.display());
            target(&data);
        }
        target(&[]);
    }
}
