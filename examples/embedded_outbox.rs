//! A work queue inside a service: what is to be done outlives the process, and is done at least once.
//!
//! ```sh
//! cargo run --example embedded_outbox
//! ```
//!
//! The service writes down what it owes (here: mails) with the same breath in which it does its work, and
//! answers its caller once that is on disk. A consumer takes one thing after the other and commits each
//! when it is done. If the process dies in between, the next one begins with what was not committed.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::path::Path;

use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, TopicOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let name = format!("topiclog-outbox-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);

    println!("The service owes four mails:");
    let log = EventLog::open(&directory)?;
    // Retention does not ask whether a mail was sent: by default one would expire after seven days.
    let outbox = log.create_topic("mail-wanted", TopicOptions::new().retention(None))?;
    let producer = outbox.producer();
    for mail in [
        "welcome anna",
        "welcome ben",
        "invoice anna",
        "welcome cleo",
    ] {
        // On disk before the caller hears that all is well.
        let at = producer.send_and_wait(Record::new(mail))?;
        println!("  {mail} is safe at offset {}", at.offset);
    }
    log.close()?;

    println!("The first mailer dies in the middle of its third mail:");
    work(&directory, Some("invoice anna"))?;
    println!("The next one begins with that mail:");
    work(&directory, None)?;
    println!("And a third finds nothing to do.");
    work(&directory, None)?;
    Ok(std::fs::remove_dir_all(directory)?)
}

/// Opens the log, and sends the mails that are not sent yet; dies before the end of `dies_at`.
fn work(directory: &Path, dies_at: Option<&str>) -> Result<(), Box<dyn Error>> {
    let log = EventLog::open(directory)?;
    let options = ConsumerOptions::new()
        .offset_reset(OffsetReset::Earliest)
        .auto_commit(None);
    let group = log.consumer_group("mailer")?.options(options);
    let outbox = log.topic("mail-wanted")?;
    let mut mailer = group.subscribe([&outbox])?;
    let mut waiting = mailer.drain()?;
    while let Some(records) = waiting.next() {
        for mail in &records? {
            let text = String::from_utf8_lossy(mail.value().unwrap_or_default());
            println!("  sending {text}");
            if dies_at == Some(&*text) {
                // Dropped without a close: what was not committed stays to be done.
                return Ok(());
            }
            // What is committed is the next offset to read. On return it is on disk.
            let done = (mail.topic_partition(), mail.next_offset());
            waiting.consumer().commit_offsets([done])?;
        }
    }
    // Nobody needs what is done. Deleted it takes hardly any room, and is not sent again if nobody is in
    // the group for a week and its committed offsets expire. A service that runs on does this once an hour,
    // say.
    for partition in group.lag(&outbox) {
        if let Some(done) = partition.committed {
            let number = partition.topic_partition.partition();
            outbox.partition(number)?.delete_records(done)?;
        }
    }
    Ok(log.close()?)
}
