//! Holds the house together: rustc accepts any module naming any other, this test does not.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

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

/// What lies outside, and by which door alone it comes in: files, clocks, threads and locks, randomness, and
/// what decides about bytes.
const DOORS: &[(&str, &[&str])] = &[
    ("std::fs", &["src/storage/"]),
    ("std::os", &["src/storage/"]),
    ("std::net", &[]),
    ("fs2", &["src/storage/"]),
    ("std::time::Instant", &["src/clock.rs"]),
    (
        "std::time::SystemTime",
        &["src/clock.rs", "src/timestamp.rs"],
    ),
    ("std::thread", &["src/sync/"]),
    ("std::sync::Barrier", &[]),
    ("std::sync::Condvar", &[]),
    ("std::sync::Mutex", &[]),
    ("std::sync::RwLock", &[]),
    ("std::sync::atomic", &["src/sync/"]),
    ("std::sync::mpsc", &[]),
    ("core::sync", &[]),
    ("parking_lot", &["src/sync/"]),
    ("crossbeam_channel", &["src/topic/housekeeper.rs"]),
    ("std::hash::RandomState", &["src/random.rs"]),
    ("std::collections::hash_map::RandomState", &[]),
    ("bincode", &["src/format/"]),
];

/// What asks the file system without naming it.
const ASKING: &[&str] = &[
    ".exists()",
    ".try_exists()",
    ".canonicalize()",
    ".read_dir()",
    ".symlink_metadata()",
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

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

/// A source as words, double colons and single characters.
fn tokens(code: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), code.trim_start());
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        let length = match word.unwrap_or(rest.len()) {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            length => length,
        };
        let (token, behind) = rest.split_at(length);
        tokens.push(token);
        rest = behind.trim_start();
    }
    tokens
}

/// Adds the path that begins here, or each of those in braces, and says where it ends.
fn add_paths(tokens: &[&str], mut at: usize, before: &str, into: &mut Vec<String>) -> usize {
    let mut path = before.to_owned();
    loop {
        if tokens[at] != "self" {
            path.push_str(if path.is_empty() { "" } else { "::" });
            path.push_str(tokens[at]);
        }
        let next = |at: usize| tokens.get(at).copied().unwrap_or_default();
        if next(at + 1) == "::" && next(at + 2) == "{" {
            at += 3;
            while at < tokens.len() && tokens[at] != "}" {
                let word = is_word(tokens[at]);
                at = if word {
                    add_paths(tokens, at, &path, into)
                } else {
                    at + 1
                };
            }
            return at + 1;
        }
        if next(at + 1) != "::" || !is_word(next(at + 2)) {
            into.push(path);
            return at + 1;
        }
        at += 2;
    }
}

/// The paths that a source names, in imports and elsewhere; those with `super` as from the crate's root.
fn paths(path: &Path, code: &str) -> Vec<String> {
    let code = code.replace("use ::", "use ");
    let (tokens, mut named, mut at) = (tokens(&code), Vec::new(), 0);
    while at < tokens.len() {
        at = if is_word(tokens[at]) {
            add_paths(&tokens, at, "", &mut named)
        } else {
            at + 1
        };
    }
    let own = path.with_extension("");
    let own = own.iter().skip(1).map(|part| part.to_str().unwrap());
    let own: Vec<_> = own.filter(|part| *part != "mod").collect();
    let from_root = |named: String| {
        let above = named.split("::").take_while(|part| *part == "super");
        match above.count() {
            0 => named,
            above => {
                let kept = &own[..own.len().saturating_sub(above)];
                let rest = named.split("::").skip(above);
                let parts = ["crate"].into_iter().chain(kept.iter().copied());
                parts.chain(rest).collect::<Vec<_>>().join("::")
            }
        }
    };
    named.into_iter().map(from_root).collect()
}

/// Whether a path leads to something, into it, or to a place from where it can be named.
fn reaches(path: &str, there: &str) -> bool {
    let mut both = path.split("::").zip(there.split("::"));
    both.all(|(one, other)| one == other)
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
        let named = paths(&path, &code(&text));
        let named = named.iter().filter_map(|path| path.strip_prefix("crate::"));
        let named = named.map(|path| path.split("::").next().unwrap());
        for name in named.filter(|name| *name != own) {
            let allowed = match floors.get(name) {
                // The words of floor 0 are defined by one another, and the doors of floor 2 are built
                // with those to locks and to randomness.
                Some(floor) => {
                    *floor < own_floor && *floor <= highest
                        || (own_floor, *floor) == (0, 0)
                        || own_floor == 2 && matches!(name, "sync" | "random")
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
fn only_the_doors_touch_files_clocks_and_threads() {
    let mut wrong = Vec::new();
    for (path, text) in shipped() {
        let (shown, code) = (path.display().to_string(), code(&text));
        for named in paths(&path, &code) {
            for (outside, doors) in DOORS.iter().filter(|(outside, _)| reaches(&named, outside)) {
                if !doors.iter().any(|door| shown.starts_with(door)) {
                    wrong.push(format!("{shown}: {named} leads to {outside}"));
                }
            }
        }
        let asking = ASKING.iter().filter(|word| code.contains(**word));
        let asking = asking.filter(|_| !shown.starts_with("src/storage/"));
        wrong.extend(asking.map(|word| format!("{shown}: {word}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_way_of_writing_a_path_hides_where_it_leads() {
    let doors = |code: &str| {
        let named = paths(Path::new("src/log/segment/file.rs"), code);
        let reached = |named: &String| DOORS.iter().any(|(outside, _)| reaches(named, outside));
        named.iter().any(reached)
    };
    for hidden in [
        "use std::{fs, mem};",
        "use std::{mem, sync::{Arc, Mutex}};",
        "use std::{\n    io,\n    thread::{self, sleep},\n};",
        "use std::time::{Duration, Instant as Now};",
        "use std::sync::{self, Arc};",
        "use std::time;",
        "use std::sync::*;",
        "use std as outside;",
        "use ::std::fs::File;",
        "fn wait() { std::thread::sleep(TIME) }",
        "use parking_lot::Mutex;",
    ] {
        assert!(doors(hidden), "{hidden}");
    }
    for plain in [
        "use std::sync::Arc;",
        "use std::{io, mem};",
        "use std::time::Duration;",
        "use crate::sync::Mutex;",
        "pub(crate) fn fs(thread: &Thread) {}",
    ] {
        assert!(!doors(plain), "{plain}");
    }
    let named = |code| paths(Path::new("src/log/segment/file.rs"), code);
    let imports = named("use super::super::super::{topic::Topic, group};");
    assert_eq!(imports[1..], ["crate::topic::Topic", "crate::group"]);
    assert_eq!(named("super::super::Log")[0], "crate::log::Log");
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
