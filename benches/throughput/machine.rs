//! What the machine does without a log: the baselines.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use crate::MIB;
use crate::common::{Directory, Values, time};

pub fn create(path: &Path) -> File {
    drop(std::fs::remove_file(path));
    open(
        path,
        OpenOptions::new().read(true).write(true).create_new(true),
    )
}

pub fn append_to(path: &Path) -> File {
    open(path, OpenOptions::new().append(true).create(true))
}

fn open(path: &Path, options: &OpenOptions) -> File {
    #[expect(
        clippy::disallowed_methods,
        reason = "the baseline is a file of its own"
    )]
    options.open(path).unwrap()
}

/// The same bytes to a new file in pieces of 1 MiB.
pub fn plain_writes(directory: &Directory, bytes: &[u8]) -> Duration {
    let path = directory.path().join("plain");
    let mut file = create(&path);
    let elapsed = time(|| {
        for piece in bytes.chunks(MIB) {
            file.write_all(piece).unwrap();
        }
    });
    std::fs::remove_file(path).unwrap();
    elapsed
}

pub fn bare_writes(directory: &Directory, values: &Values) -> Duration {
    let path = directory.path().join("bare");
    let mut file = create(&path);
    let elapsed = time(|| {
        for value in values.iter() {
            file.write_all(value).unwrap();
        }
    });
    std::fs::remove_file(path).unwrap();
    elapsed
}

/// One write and one sync per record, on a file that grows or on one that has its length.
pub fn synced_writes(directory: &Directory, values: &Values, filled: bool) -> Duration {
    let path = directory.path().join("synced");
    let file = create(&path);
    if filled {
        file.write_all_at(&vec![0; values.bytes().len()], 0)
            .unwrap();
        file.sync_all().unwrap();
    }
    let elapsed = time(|| {
        for (number, value) in values.iter().enumerate() {
            file.write_all_at(value, (number * value.len()) as u64)
                .unwrap();
            file.sync_data().unwrap();
        }
    });
    std::fs::remove_file(path).unwrap();
    elapsed
}

/// The same by two threads at once, each through its half of the pieces.
pub fn plain_reads_by_two(directory: &Path) {
    let mut segments = std::fs::read_dir(directory.join("0")).unwrap();
    let path = segments
        .find_map(|entry| {
            Some(entry.ok()?.path())
                .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
        })
        .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the baseline is a file of its own"
            )]
            let file = File::open(&path).unwrap();
            scope.spawn(move || {
                let (mut buffer, mut piece) = (vec![0; MIB], thread);
                while file.read_at(&mut buffer, piece * MIB as u64).unwrap() > 0 {
                    black_box(&buffer);
                    piece += 2;
                }
            });
        }
    });
}

/// How far behind the beginning of a cache line an allocator puts a large block: its own books come before.
pub const AS_ALLOCATED: usize = 16;

const CACHE_LINE: usize = 64;

/// So many bytes that begin so far behind the beginning of a cache line. The kernel copies up to a third faster
/// where bytes lie in memory as they lie in their page.
pub fn placed(buffer: &mut Vec<u8>, behind: usize, length: usize) -> &mut [u8] {
    buffer.resize(length + CACHE_LINE, 0);
    let address = buffer.as_ptr().addr();
    let start = (behind + CACHE_LINE - address % CACHE_LINE) % CACHE_LINE;
    &mut buffer[start..start + length]
}

/// Does nothing with what was read.
pub fn ignore(bytes: &[u8]) {
    black_box(bytes);
}

/// Computes a checksum of as much as a batch has at a time, and nothing else: what a checked read cannot do
/// without.
pub fn check_sums(bytes: &[u8]) {
    for batch in bytes.chunks(16 * 1024) {
        black_box(crc32fast::hash(batch));
    }
}

/// The files of a directory in pieces as large as the buffer, in order; each is shown to `look`.
pub fn plain_reads(directory: &Path, buffer: &mut [u8], look: fn(&[u8])) -> usize {
    let mut total = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            total += plain_reads(&path, buffer, look);
        } else if path.extension().is_some_and(|kind| kind == "log") {
            #[expect(
                clippy::disallowed_methods,
                reason = "the baseline is a file of its own"
            )]
            let file = File::open(path).unwrap();
            let mut position = 0;
            loop {
                let count = file.read_at(buffer, position).unwrap();
                if count == 0 {
                    break;
                }
                look(&buffer[..count]);
                position += count as u64;
                total += count;
            }
        }
    }
    total
}
