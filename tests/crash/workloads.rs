//! What the log is doing when the power is cut.

use std::time::Duration;

use topiclog::{Durability, TopicOptions};

use crate::world::World;

fn options(durability: Durability) -> TopicOptions {
    TopicOptions::new()
        .durability(durability)
        .timestamp_after_max(None)
        .segment_bytes(8192)
}

/// One record after the other, each waited for, to two topics.
pub(crate) fn waited(world: &mut World, durability: Durability) {
    let first = world.make("waited", options(durability));
    let second = world.make("Other.Topic", options(durability).partitions(2));
    for round in 0..12 {
        world.send_and_wait(first, 0);
        world.send(second, round % 2);
        world.wait(second);
    }
}

/// Batches that fill up or are flushed, over several partitions.
pub(crate) fn batches(world: &mut World, durability: Durability) {
    let topic = world.make(
        "batches",
        options(durability).partitions(3).batch_bytes(1200),
    );
    for round in 0..9 {
        for step in 0..6 {
            world.send(topic, (round + step) % 3);
        }
        if round % 2 == 0 {
            world.flush(topic);
        } else {
            world.wait(topic);
        }
    }
}

/// Segments of 1 to 4 KiB, so that every few records begin a new one.
pub(crate) fn rolls(world: &mut World, durability: Durability) {
    let small = options(durability)
        .segment_bytes(1024)
        .index_interval_bytes(200);
    let small = world.make("small", small.batch_bytes(300));
    let large = options(durability).segment_bytes(4096).partitions(2);
    let large = world.make("large", large.batch_bytes(2000));
    for round in 0..18 {
        world.send(small, 0);
        world.send(large, round % 2);
        world.send(large, round % 2);
        if round % 3 == 0 {
            world.wait(large);
        }
        if round % 2 == 0 {
            world.wait(small);
            // Rolls, and goes straight to the file.
            world.send_and_wait(small, 0);
        }
    }
    world.flush(small);
    world.flush(large);
}

/// Segments of so many bytes that room is taken for them ahead.
pub(crate) fn long(world: &mut World, durability: Durability) {
    let long = options(durability).segment_bytes(240_000);
    let topic = world.make_large("long", long.batch_bytes(30_000));
    for round in 0..9 {
        for _ in 0..3 {
            world.send(topic, 0);
        }
        if round % 2 == 0 {
            world.wait(topic);
        }
        world.send_and_wait(topic, 0);
    }
}

/// By size and by age, until nothing is left but the end.
pub(crate) fn retention(world: &mut World, durability: Durability) {
    let short = options(durability).segment_bytes(1024).batch_bytes(300);
    let aged = world.make(
        "aged",
        short.clone().retention(Some(Duration::from_secs(10))),
    );
    let sized = world.make("sized", short.retention(None).retention_bytes(Some(3000)));
    for _ in 0..3 {
        for _ in 0..6 {
            world.send(aged, 0);
            world.send(sized, 0);
            world.wait(aged);
        }
        world.wait(sized);
        world.housekeep(Duration::from_secs(5));
    }
    world.housekeep(Duration::from_secs(3600));
    for _ in 0..3 {
        world.send(aged, 0);
        world.wait(aged);
    }
    world.housekeep(Duration::from_secs(3600));
}

/// Up to somewhere in a segment, to its end, and to the end of the log.
pub(crate) fn delete_records(world: &mut World, durability: Durability) {
    let short = options(durability).segment_bytes(2048).batch_bytes(600);
    let topic = world.make("deleted", short.partitions(2).retention(None));
    let mut sent = 0;
    for start in [0, 3, 4, 9, 14, 20, 20, 26] {
        while sent < start + 4 {
            world.send(topic, 0);
            world.send(topic, 1);
            sent += 1;
        }
        world.wait(topic);
        world.delete_records(topic, 0, start);
        world.delete_records(topic, 1, sent);
    }
    world.send(topic, 0);
    world.send(topic, 1);
    world.wait(topic);
}

/// All that there is, again and again, of a segment so long that it goes with the records.
pub(crate) fn delete_all(world: &mut World, durability: Durability) {
    let long = options(durability).segment_bytes(400_000);
    let topic = world.make_large("emptied", long.batch_bytes(30_000).retention(None));
    let mut sent = 0;
    for records in [6, 1, 9, 6] {
        for _ in 0..records {
            world.send(topic, 0);
        }
        world.wait(topic);
        sent += records;
        world.delete_records(topic, 0, sent);
    }
    world.send_and_wait(topic, 0);
}

/// Topics made, used, grown, deleted, and made again under the same name.
pub(crate) fn topics(world: &mut World) {
    let mut topic = world.make(
        "comes-and-goes",
        options(Durability::Disk).segment_bytes(1024),
    );
    let other = world.make("stays", options(Durability::Disk));
    for round in 0..3 {
        for _ in 0..3 {
            world.send(topic, 0);
            world.wait(topic);
        }
        world.grow(topic, 3);
        for _ in 0..2 {
            world.send(topic, 2);
            world.wait(topic);
        }
        world.send(other, 0);
        world.wait(other);
        world.delete(topic);
        topic = world.make("comes-and-goes", options(Durability::Disk).partitions(2));
        world.send(topic, 1);
        world.wait(topic);
        if round == 1 {
            world.grow(other, 2);
        }
    }
}

/// Every option that may change does so, up and down the levels of durability.
pub(crate) fn alter(world: &mut World) {
    let first = options(Durability::Os)
        .partitions(2)
        .segment_bytes(2048)
        .batch_bytes(500);
    let topic = world.make("altered", first);
    let levels = [
        Durability::Os,
        Durability::Disk,
        Durability::Memory,
        Durability::Disk,
        Durability::Os,
        Durability::Memory,
        Durability::Os,
        Durability::Disk,
    ];
    for (round, level) in levels.into_iter().enumerate() {
        let segment_bytes = if round % 3 == 0 { 1024 } else { 3000 };
        world.alter(topic, |options| {
            options.durability(level).segment_bytes(segment_bytes)
        });
        for step in 0..8 {
            world.send(topic, u32::from(step % 3 == 0));
            if step % 4 == 0 {
                world.wait(topic);
            }
        }
        if round == 4 {
            world.sync(topic);
        }
    }
    world.flush(topic);
}

/// Clean closes, with and without records in between.
pub(crate) fn reopen(world: &mut World, durability: Durability) {
    let short = options(durability).segment_bytes(1500).batch_bytes(400);
    let topic = world.make("reopened", short.partitions(2));
    world.make("empty", options(durability).partitions(2));
    for round in 0..5 {
        for _ in 0..round * 2 {
            world.send(topic, 0);
        }
        world.wait(topic);
        if round == 3 {
            world.delete_records(topic, 0, 5);
        }
        world.close();
        world.open();
    }
    world.send(topic, 1);
    world.wait(topic);
    world.close();
}
