//! What a reader meets between two segments.

use std::sync::Arc;

use super::World;
use crate::storage::{Fault, OperationKind};
use crate::{Durability, ErrorKind, Offset, Record};

/// A segment went between two looks of a reader, and the next one began with offsets that were given up: the
/// reader took its records for the ones that it wanted.
#[test]
fn a_reader_never_jumps_over_a_segment() {
    let world = World::new(Durability::Memory);
    for _record in 0..2 {
        world.send(1);
        world.topic.flush().unwrap();
    }
    let producer = world.topic.producer();
    world
        .storage
        .fail(Fault::error(5).only(OperationKind::Write));
    producer.send(Record::new(vec![7; 900])).unwrap();
    world.topic.flush().unwrap_err();
    world.send(1);
    world.topic.flush().unwrap();
    let log = &world.partition.log;
    let mut segments = log.segments().to_vec();
    assert_eq!(segments.last().unwrap().base_offset(), Offset::new(2));
    segments.remove(1);
    *log.segments.write() = Arc::new(segments);

    let mut scan = world.partition.scan(Offset::ZERO);
    assert_eq!(scan.next().unwrap().unwrap().len(), 1);
    let error = scan.next().unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.offset()),
        (ErrorKind::Corrupt, Some(Offset::new(1)))
    );
}
