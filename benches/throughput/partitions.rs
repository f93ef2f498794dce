//! Many partitions, one record in each.

use std::time::Duration;

use topiclog::{Durability, EventLog, Record};

use crate::common::{Arguments, Directory, thousands, time};
use crate::machine::create;
use crate::work::options;

/// A directory and a file in it for each, a byte in it, and a sync of both: what has to happen somewhere
/// between the creation of a partition and the close of its log. They stay until all has been measured: a
/// file system may be slow to make files where it has just removed others (ext4 looks for other inodes).
fn plain_partitions(directory: &Directory, count: u32) -> Duration {
    time(|| {
        for number in 0..count {
            let path = directory.path().join(format!("plain-{number}"));
            std::fs::create_dir(&path).unwrap();
            let file = create(&path.join("file"));
            std::io::Write::write_all(&mut &file, b"x").unwrap();
            file.sync_all().unwrap();
            #[expect(
                clippy::disallowed_methods,
                reason = "the baseline is a directory of its own"
            )]
            std::fs::File::open(&path).unwrap().sync_all().unwrap();
        }
    })
}

pub fn many(arguments: &Arguments) {
    println!("\n## partitions: one record of one byte in each, page cache; time per partition\n");
    println!(
        "| partitions | plain files, synced | create | first send to each | send to each again | close | open | create to close, ratio to plain |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|");
    let mut directories = Vec::new();
    for count in [1, 10, 100, 1000, 10_000] {
        if arguments.quick && count > 1000 {
            continue;
        }
        let directory = Directory::new(&format!("partitions-{count}"));
        let plain = plain_partitions(&directory, count);
        let path = directory.path().join("log");
        directories.push(directory);
        let log = EventLog::open(&path).unwrap();
        let mut topic = None;
        let create = time(|| {
            let options = options(Durability::Os).partitions(count);
            topic = Some(log.create_topic("t", options).unwrap());
        });
        let topic = topic.unwrap();
        let send_each = || {
            let producer = topic.producer();
            let mut done = Ok(());
            let elapsed = time(|| {
                for partition in 0..count {
                    let record = Record::new("x").partition(partition);
                    producer.send(record).unwrap();
                }
                done = producer.flush();
            });
            done.map(|()| elapsed)
        };
        let sends = send_each().and_then(|first| Ok((first, send_each()?)));
        let (first, second) = match sends {
            Ok(sends) => sends,
            Err(error) => return println!("\nStopped at {count} partitions: {error}."),
        };
        let close = time(|| log.close().unwrap());
        drop((topic, log));
        let mut opened = None;
        let open = time(|| opened = Some(EventLog::open(&path)));
        if let Some(Err(error)) = opened {
            return println!("\nStopped at {count} partitions: {error}.");
        }
        print!("| {} |", thousands(f64::from(count)));
        for (series, elapsed) in [
            ("plain files, synced", plain),
            ("create", create),
            ("first send", first),
            ("send again", second),
            ("close", close),
            ("open", open),
        ] {
            let each = elapsed / count;
            print!(" {each:.1?} |");
            let micros = each.as_secs_f64() * 1e6;
            arguments.point(
                "partitions",
                series,
                ("partitions", f64::from(count)),
                ("us", micros),
            );
        }
        let all = create + first + close;
        println!(" {:.2} |", all.as_secs_f64() / plain.as_secs_f64());
    }
}
