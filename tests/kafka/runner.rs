//! Runs one script on a log in memory, whose clock stands still.

use std::collections::BTreeMap;
use std::time::Duration;

use topiclog::clock::ManualClock;
use topiclog::{
    CommittedOffset, Consumer, ConsumerGroup, ConsumerOptions, Eager, Error, ErrorKind, EventLog,
    Housekeeping, Offset, OffsetReset, OffsetTarget, Partition, RangeAssignor, Record,
    RoundRobinAssignor, Timestamp, TopicOptions, TopicPartition,
};

use super::recorded::{place, places};

/// What `now` is in a script.
const NOW: i64 = 1_700_000_000_000;

/// What Kafka throws, and the kind of error that it is here.
const EXCEPTIONS: &[(&str, ErrorKind)] = &[
    ("GroupIdNotFoundException", ErrorKind::NotFound),
    ("GroupNotEmptyException", ErrorKind::InUse),
    ("GroupSubscribedToTopicException", ErrorKind::InUse),
    ("IllegalArgumentException", ErrorKind::InvalidInput),
    ("IllegalStateException", ErrorKind::InvalidInput),
    ("InvalidGroupIdException", ErrorKind::InvalidInput),
    ("InvalidPartitionsException", ErrorKind::InvalidInput),
    ("InvalidTimestampException", ErrorKind::InvalidInput),
    ("InvalidTopicException", ErrorKind::InvalidInput),
    ("NoOffsetForPartitionException", ErrorKind::OffsetOutOfRange),
    ("OffsetOutOfRangeException", ErrorKind::OffsetOutOfRange),
    ("TopicExistsException", ErrorKind::AlreadyExists),
    ("UnknownMemberIdException", ErrorKind::InUse),
    ("exit", ErrorKind::InvalidInput),
];

/// A log and those who read it, by the names that a script gives them.
#[derive(Debug)]
pub(crate) struct Runner {
    log: EventLog,
    consumers: BTreeMap<String, Consumer>,
}

/// What a step says, or `!` and an error.
type Answer = Result<String, Error>;

impl Runner {
    pub(crate) fn new() -> Self {
        let log = EventLog::builder()
            .clock(ManualClock::new(Timestamp::from_millis(NOW)))
            .housekeeping(Housekeeping::Manual)
            .in_memory()
            .open()
            .unwrap();
        Self {
            log,
            consumers: BTreeMap::new(),
        }
    }

    /// Whether a step says what Kafka said. What it says here comes back if it does not.
    pub(crate) fn check(&mut self, step: &str, theirs: &str) -> Result<(), String> {
        let words: Vec<_> = step.split(' ').collect();
        let ours = self.administer(&words);
        let ours = ours.unwrap_or_else(|error| shown(&error));
        if ours == translated(theirs) {
            Ok(())
        } else {
            Err(ours)
        }
    }

    /// The steps that need no consumer.
    fn administer(&mut self, words: &[&str]) -> Answer {
        let name = words[1];
        match words[0] {
            "topic" => {
                let options = topic_options(&words[3..]).partitions(words[2].parse().unwrap());
                self.log.create_topic(name, options)?;
            }
            "send" => return self.send(&place(name), &words[2..]),
            "delete-records" => {
                let start = self.partition(name)?.delete_records(offset(words[2]))?;
                return Ok(start.to_string());
            }
            "offsets" => {
                let offsets = self.partition(name)?.offsets();
                return Ok(format!("{}..{}", offsets.log_start, offsets.high_watermark));
            }
            "offset-for-time" => {
                let time = time(words[2]);
                return Ok(found(self.partition(name)?.offset_for_time(time)?));
            }
            "offset-of-max-timestamp" => {
                return Ok(found(self.partition(name)?.offset_of_max_timestamp()?));
            }
            "set-offset" => {
                let group = self.group(name)?;
                group.set_offset(&place(words[2]), committed(&words[3..]))?;
            }
            "delete-offsets" => self.group(name)?.delete_offsets(place(words[2]).topic())?,
            "delete-group" => self.group(name)?.delete()?,
            "group-offsets" => {
                let mut committed = self.group(name)?.committed();
                committed.sort_by(|(one, _), (other, _)| one.cmp(other));
                let each = committed.iter();
                let each = each.map(|(place, offset)| format!("{}={}", at(place), note(offset)));
                return Ok(each.collect::<Vec<_>>().join(" "));
            }
            "group-state" => {
                let group = self.log.describe_consumer_group(name)?;
                return Ok(format!("{:?} {}", group.state, group.members.len()));
            }
            "add-partitions" => {
                let topic = self.log.topic(name)?;
                topic.increase_partitions_to(words[2].parse().unwrap())?;
            }
            "remove-instance" => self.group(name)?.remove_instance(words[2])?,
            "settle" => return Ok(self.settle(name)),
            "plan" | "reset" => return self.reset(words),
            "consumer" => {
                let consumer = self.consumer(&words[2..])?;
                self.consumers.insert(name.to_owned(), consumer);
            }
            "close" => self.consumers.remove(name).unwrap().close()?,
            _ => return self.consume(words),
        }
        Ok("ok".to_owned())
    }

    /// The steps of a consumer.
    fn consume(&mut self, words: &[&str]) -> Answer {
        let argument = words.get(2).copied().unwrap_or_default();
        let partitions = match words[0] {
            "assign" => argument
                .split(',')
                .map(|place| self.partition(place))
                .collect(),
            _ => Ok(Vec::new()),
        }?;
        let consumer = self.consumers.get_mut(words[1]).unwrap();
        match words[0] {
            "assign" => consumer.assign(&partitions)?,
            "subscribe" => consumer.subscribe_by_name(argument.split(','))?,
            "unsubscribe" => consumer.unsubscribe()?,
            "assignment" => return Ok(all(consumer.assignment())),
            "seek" => consumer.seek(&place(argument), offset(words[3]))?,
            "seek-to-beginning" if argument.is_empty() => consumer.seek_to_beginning()?,
            "seek-to-beginning" => consumer.seek_to_beginning_of(&places(argument))?,
            "seek-to-end" if argument.is_empty() => consumer.seek_to_end()?,
            "seek-to-end" => consumer.seek_to_end_of(&places(argument))?,
            "position" => return Ok(consumer.position(&place(argument))?.to_string()),
            "pause" => consumer.pause(&places(argument))?,
            "resume" => consumer.resume(&places(argument))?,
            "paused" => return Ok(all(consumer.paused())),
            "poll" => return Ok(poll(consumer, false)),
            "drain" => return Ok(poll(consumer, true)),
            "commit" => consumer.commit()?,
            "commit-offset" => {
                consumer.commit_offsets([(&place(argument), committed(&words[3..]))])?;
            }
            "committed" => {
                let committed = consumer.committed(&place(argument))?;
                return Ok(committed.as_ref().map_or_else(|| "none".to_owned(), note));
            }
            step => panic!("{step} is no step"),
        }
        Ok("ok".to_owned())
    }

    fn partition(&self, text: &str) -> Result<Partition, Error> {
        let place = place(text);
        self.log.topic(place.topic())?.partition(place.partition())
    }

    fn group(&self, name: &str) -> Result<ConsumerGroup, Error> {
        self.log.consumer_group(name)
    }

    /// One batch, of values with or without a timestamp behind them: `a@5000 b`.
    fn send(&self, place: &TopicPartition, records: &[&str]) -> Answer {
        let producer = self.log.topic(place.topic())?.producer();
        let sent = records.iter().map(|record| {
            let (value, at) = record
                .split_once('@')
                .map_or((*record, None), |(v, t)| (v, Some(t)));
            let record = Record::new(value).partition(place.partition());
            producer.send(match at {
                Some(at) => record.timestamp(time(at)),
                None => record,
            })
        });
        // All are sent before the first is waited for.
        let sent: Vec<_> = sent.collect();
        let offsets = sent.into_iter().map(|sent| {
            let delivered = match sent {
                Ok(delivery) => delivery.wait(),
                Err(refused) => Err(refused.into()),
            };
            delivered.map_or_else(|error| shown(&error), |sent| sent.offset.to_string())
        });
        Ok(offsets.collect::<Vec<_>>().join(" "))
    }

    /// Polls members in turn until nothing moves any more, whatever they read.
    fn settle(&mut self, members: &str) -> String {
        let mut before = String::new();
        loop {
            let settled = members.split(',').map(|name| {
                let member = self.consumers.get_mut(name).unwrap();
                poll(member, true);
                format!("{name}={}", all(member.assignment()))
            });
            let now = settled.collect::<Vec<_>>().join(" ");
            if now == before {
                return now;
            }
            before = now;
        }
    }

    fn reset(&self, words: &[&str]) -> Answer {
        let (group, topic) = (self.group(words[1])?, self.log.topic(words[2])?);
        let target = match words[3] {
            "to-earliest" => OffsetTarget::Earliest,
            "to-latest" => OffsetTarget::Latest,
            "to-current" => OffsetTarget::Current,
            "to-offset" => OffsetTarget::Offset(offset(words[4])),
            "shift-by" => OffsetTarget::Shift(words[4].parse().unwrap()),
            "to-datetime" => OffsetTarget::DateTime(time(words[4])),
            "by-duration" => OffsetTarget::ByDuration(seconds(words[4])),
            target => panic!("{target} is no target"),
        };
        let planned = match words[0] {
            "plan" => group.plan_reset(&topic, target)?,
            _ => group.reset(&topic, target)?,
        };
        let each = planned.iter();
        let each = each.map(|reset| format!("{}={}", at(&reset.topic_partition), reset.after));
        Ok(each.collect::<Vec<_>>().join(" "))
    }

    fn consumer(&self, words: &[&str]) -> Result<Consumer, Error> {
        let asked: BTreeMap<_, _> = words
            .iter()
            .map(|word| word.split_once('=').unwrap())
            .collect();
        let mut options = ConsumerOptions::new()
            .offset_reset(match asked.get("reset").copied() {
                None | Some("earliest") => OffsetReset::Earliest,
                Some("latest") => OffsetReset::Latest,
                Some("none") => OffsetReset::None,
                Some(policy) => {
                    let time = policy.strip_prefix("by_duration:PT").unwrap();
                    OffsetReset::ByDuration(seconds(time.strip_suffix('S').unwrap()))
                }
            })
            // Time does not pass, so what commits automatically does so only where it must.
            .auto_commit(asked.get("auto").map(|_| Duration::from_secs(3600)));
        if let Some(count) = asked.get("max") {
            options = options.max_poll_records(count.parse().unwrap());
        }
        let Some(group) = asked.get("group") else {
            return self.log.consumer().options(options).assign([]);
        };
        let mut member = self.group(group)?.member().options(options);
        if let Some(instance) = asked.get("instance") {
            member = member.instance_id(*instance);
        }
        match asked.get("assignor").copied() {
            Some("RangeAssignor") => member.assignor(Eager::new(RangeAssignor)),
            Some("RoundRobinAssignor") => member.assignor(Eager::new(RoundRobinAssignor)),
            _ => member,
        }
        .assign([])
    }
}

/// One poll, or polls until there is nothing more: offsets by partition, and the error that ends it.
fn poll(consumer: &mut Consumer, all: bool) -> String {
    let mut read = BTreeMap::<String, Vec<String>>::new();
    let failed = loop {
        match consumer.poll(Duration::ZERO) {
            Ok(records) => {
                for record in &records {
                    let offsets = read.entry(at(record.topic_partition())).or_default();
                    offsets.push(record.offset().to_string());
                }
                if records.is_empty() || !all {
                    break None;
                }
            }
            Err(error) => break Some(shown(&error)),
        }
    };
    let read = read
        .iter()
        .map(|(place, offsets)| format!("{place}={}", offsets.join(",")));
    read.chain(failed).collect::<Vec<_>>().join(" ")
}

fn shown(error: &Error) -> String {
    format!("!{:?}", error.kind())
}

/// Kafka's answer with our word for its exception. No step has two of them.
fn translated(answer: &str) -> String {
    let Some((before, exception)) = answer.split_once('!') else {
        return answer.to_owned();
    };
    let known = EXCEPTIONS.iter().find(|(name, _)| *name == exception);
    let (_, kind) = known.unwrap_or_else(|| panic!("{exception} has no kind"));
    format!("{before}!{kind:?}")
}

fn topic_options(words: &[&str]) -> TopicOptions {
    let mut options = TopicOptions::new().retention(None);
    for word in words {
        let age = word.strip_prefix("segment.ms=").unwrap();
        options = options.segment_age(Duration::from_millis(age.parse().unwrap()));
    }
    options
}

/// Milliseconds since 1970, or before now: `now-60000`.
fn time(text: &str) -> Timestamp {
    Timestamp::from_millis(match text.strip_prefix("now-") {
        Some(before) => NOW - before.parse::<i64>().unwrap(),
        None => text.parse().unwrap(),
    })
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.parse().unwrap())
}

fn offset(text: &str) -> Offset {
    Offset::new(text.parse().unwrap())
}

/// An offset, and maybe a note.
fn committed(words: &[&str]) -> CommittedOffset {
    let note = words.get(1).copied().unwrap_or_default();
    CommittedOffset::new(offset(words[0])).with_metadata(note)
}

fn note(committed: &CommittedOffset) -> String {
    format!("{}/{}", committed.offset(), committed.metadata())
}

fn found(found: Option<(Offset, Timestamp)>) -> String {
    found.map_or_else(
        || "none".to_owned(),
        |(offset, time)| format!("{offset}@{}", time.as_millis()),
    )
}

fn at(place: &TopicPartition) -> String {
    format!("{}:{}", place.topic(), place.partition())
}

fn all(mut places: Vec<TopicPartition>) -> String {
    places.sort();
    places.iter().map(at).collect::<Vec<_>>().join(",")
}
