//! The files of recorded answers, line by line.

use topiclog::{TopicName, TopicPartition};

/// One line: what Kafka was asked or told, and what it said.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) question: &'static str,
    pub(crate) answer: &'static str,
}

/// The lines of a file, without its comments.
pub(crate) fn lines(file: &'static str) -> impl Iterator<Item = Line> {
    file.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .map(line)
}

fn line(line: &'static str) -> Line {
    let (question, answer) = line
        .split_once(" ->")
        .unwrap_or_else(|| panic!("{line} has no answer"));
    Line {
        question,
        answer: answer.trim_start(),
    }
}

/// Asks this crate everything that Kafka was asked, and shows all on which they differ.
pub(crate) fn compare(file: &'static str, least: usize, ask: impl Fn(&str) -> String) {
    let asked: Vec<_> = lines(file).collect();
    assert!(asked.len() >= least, "{} questions only", asked.len());
    let wrong: Vec<_> = asked
        .iter()
        .filter_map(|line| {
            let ours = ask(line.question);
            (ours != line.answer).then(|| format!("{line:?}, and here {ours}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

/// A partition as the files write it: `topic:3`.
pub(crate) fn place(text: &str) -> TopicPartition {
    let (name, partition) = text.rsplit_once(':').unwrap();
    TopicPartition::new(topic(name), partition.parse().unwrap())
}

/// Partitions with commas between them.
pub(crate) fn places(text: &str) -> Vec<TopicPartition> {
    text.split(',')
        .filter(|text| !text.is_empty())
        .map(place)
        .collect()
}
