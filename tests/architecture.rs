//! Holds the house together: rustc accepts any module naming any other, this test does not.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floor of every module of the crate. A module names only modules of lower floors.
const FLOORS: &[(&str, u32)] = &[
    ("convert", 0),
    ("error", 0),
    ("limits", 0),
    ("name", 0),
    ("offset", 0),
    ("options", 0),
    ("record", 0),
    ("timestamp", 0),
    ("format", 1),
    ("clock", 2),
    ("random", 2),
    ("storage", 2),
    ("sync", 2),
    ("log", 3),
    ("topic", 4),
    ("group", 5),
    ("consumer", 6),
    ("producer", 6),
    ("event_log", 7),
];

/// A module that may name less than all that is below it: nothing above this floor.
const PURE: &[(&str, u32)] = &[("group", 0)];

/// What a floor must never name, whatever the module that gives it.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "format",
        &[
            "crate::sync",
            "std::fs",
            "std::time::Instant",
            "std::sync::Mutex",
        ],
    ),
    (
        "group",
        &[
            "crate::sync",
            "crate::clock",
            "crate::storage",
            "std::fs",
            "std::thread",
        ],
    ),
    ("log", &["std::fs", "std::thread", "std::time::Instant"]),
    ("topic", &["std::fs", "std::time::Instant"]),
    (
        "consumer",
        &["std::fs", "std::time::Instant", "std::thread", "bincode"],
    ),
    (
        "producer",
        &["std::fs", "std::time::Instant", "std::thread"],
    ),
    ("event_log", &["std::fs", "std::time::Instant"]),
];

/// Words that mean something else in this field, or nothing.
const BANNED: &[&str] = &[
    "broker",
    "cluster",
    "zookeeper",
    "TODO",
    "FIXME",
    "XXX",
    "todo!(",
    "unimplemented!(",
];

/// A file that is longer is two rooms.
const LINES_MAX: usize = 750;

/// A line that is longer does not fit beside another.
const COLUMNS_MAX: usize = 110;

fn files_below(directory: &Path, ending: &str, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // What a crate within this one has built is nobody's style.
            if !path.ends_with("target") {
                files_below(&path, ending, into);
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == ending)
        {
            into.push(path);
        }
    }
}

fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    files_below(&root.join(directory), "rs", &mut files);
    files.sort();
    assert!(!files.is_empty(), "no sources below {directory}");
    let text = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root).unwrap().to_path_buf(), text)
    };
    files.into_iter().map(text).collect()
}

/// What stands in for locks and threads in `tests/schedules.rs`, and there alone.
const MODEL: &str = "src/sync/scheduled.rs";

/// The sources that are compiled into the crate.
fn shipped() -> Vec<(PathBuf, String)> {
    let is_test = |path: &Path| path == Path::new(MODEL) || path.iter().any(|part| part == "tests");
    sources("src")
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .collect()
}

/// The module of a file below `src`.
fn module(path: &Path) -> String {
    let first = path.iter().nth(1).unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The part of a source that is compiled into the crate: no comments, no tests at the end.
fn code(text: &str) -> String {
    // A single item that only tests have is followed by what is shipped.
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a source names behind `crate::`, up to the next colon or whatever else ends a word.
fn named(code: &str) -> Vec<String> {
    let word = |rest: &str| {
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    code.match_indices("crate::")
        .map(|(at, found)| word(&code[at + found.len()..]))
        .collect()
}

#[test]
fn a_module_names_only_lower_floors() {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in shipped() {
        let own = module(&path);
        if own == "lib" {
            continue;
        }
        let own_floor = *floors
            .get(&*own)
            .unwrap_or_else(|| panic!("{own} has no floor"));
        let pure = PURE.iter().find(|(module, _)| *module == own);
        let highest = pure.map_or(own_floor, |(_, highest)| *highest);
        for name in named(&code(&text)).iter().filter(|name| **name != own) {
            let allowed = match floors.get(&**name) {
                // The words of floor 0 are defined by one another, and the doors of floor 2 are built
                // with the one to locks.
                Some(floor) => {
                    *floor < own_floor && *floor <= highest
                        || (own_floor, *floor) == (0, 0)
                        || own_floor == 2 && name == "sync"
                }
                // What the crate gives to its users comes from a module, and is to be named by that.
                None => false,
            };
            if !allowed {
                let shown = path.display();
                wrong.push(format!("{shown}: floor {own_floor} names crate::{name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_floor_never_holds_what_it_must_not() {
    let mut wrong = Vec::new();
    for (path, text) in shipped() {
        let (own, code) = (module(&path), code(&text));
        for (_, words) in FORBIDDEN.iter().filter(|(module, _)| *module == own) {
            for word in words.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{}: names {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_doors_touch_files_clocks_and_threads() {
    let doors = ["src/storage", "src/clock.rs", "src/sync", "src/random.rs"];
    let outside = [
        "std::fs",
        "Instant::now",
        "SystemTime::now",
        "std::thread",
        "std::sync::atomic",
        "RandomState",
    ];
    let mut wrong = Vec::new();
    for (path, text) in shipped() {
        let shown = path.display().to_string();
        if doors.iter().any(|door| shown.starts_with(door)) {
            continue;
        }
        for word in outside.iter().filter(|word| code(&text).contains(**word)) {
            wrong.push(format!("{shown}: {word}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_panic_is_written_outside_tests() {
    let mut wrong = Vec::new();
    for (path, text) in shipped() {
        for word in [
            ".unwrap()",
            ".expect(",
            "panic!(",
            "unreachable!(",
            "unsafe ",
        ] {
            if code(&text).contains(word) {
                wrong.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_and_lines_stay_short_and_words_stay_ours() {
    let mut wrong = Vec::new();
    for (path, text) in ["src", "examples", "tests", "benches"]
        .into_iter()
        .flat_map(sources)
    {
        let shown = path.display();
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{shown}: {lines} lines"));
        }
        if shown.to_string() == "tests/architecture.rs" {
            continue;
        }
        let prints_tables = shown.to_string().starts_with("benches");
        for (number, line) in (1..).zip(text.lines()).filter(|_| !prints_tables) {
            if line.chars().count() > COLUMNS_MAX {
                wrong.push(format!(
                    "{shown}:{number}: {} columns",
                    line.chars().count()
                ));
            }
        }
        for word in BANNED.iter().filter(|word| text.contains(**word)) {
            wrong.push(format!("{shown}: {word}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The documents by name, the README first.
fn documents() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    files_below(&root.join("docs"), "md", &mut files);
    files.sort();
    files.insert(0, root.join("README.md"));
    let text = |file: PathBuf| (file.clone(), fs::read_to_string(file).unwrap());
    files.into_iter().map(text).collect()
}

/// Where the link definitions of a document lead: `[NAME]: target` on a line of its own.
fn definitions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    files_below(&root.join("docs"), "md", &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let inline = text.split("](").skip(1);
        let inline = inline.filter_map(|rest| rest.split(')').next());
        for target in inline.chain(definitions(&text).map(|(_, target)| target)) {
            let path = target.split('#').next().unwrap();
            let elsewhere = path.is_empty() || path.contains("://") || path.contains("::");
            let word = !path.contains('.') && !path.contains('/');
            if !elsewhere && !word && !file.parent().unwrap().join(path).exists() {
                wrong.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A file of `docs/` is nowhere near the pages that rustdoc makes, where each document is a module.
#[test]
fn links_to_documents_lead_somewhere_in_rustdoc_too() {
    let library = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
    let mut wrong = Vec::new();
    for (file, text) in documents() {
        let name = file.file_name().unwrap().to_str().unwrap();
        let Some((above, _)) = library.split_once(&format!("{name}\")]")) else {
            wrong.push(format!("{name}: not in src/lib.rs"));
            continue;
        };
        // Of the documentation lines right above the page.
        let lines = above.lines().rev().skip(1);
        let lines: Vec<_> = lines.take_while(|line| line.contains("//")).collect();
        for (word, target) in definitions(&text) {
            if !lines
                .iter()
                .any(|line| line.contains(&format!(" [{word}]: ")))
            {
                wrong.push(format!("{name}: [{word}] leads to {target}"));
            }
        }
        for inline in text.split("](").skip(1) {
            let target = inline.split(')').next().unwrap();
            if target.contains(".md") {
                wrong.push(format!("{name}: {target} is no reference"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Lines that rustdoc hides are shown everywhere else, and what is shown then does not compile.
#[test]
fn code_in_documents_is_whole_as_it_stands() {
    let mut wrong = Vec::new();
    for (file, text) in documents() {
        for code in text.split("```rust").skip(1) {
            let code = code.split("```").next().unwrap();
            let hidden = |line: &&str| *line == "#" || line.starts_with("# ");
            let hidden = code.lines().filter(hidden);
            wrong.extend(hidden.map(|line| format!("{}: {line}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let example = include_str!("../examples/hello.rs");
    let (_, program) = example.split_once("]\n\n").unwrap();
    assert!(
        documents()[0]
            .1
            .contains(&format!("```rust,no_run\n{program}```"))
    );
}
