//! Reading it all again: the proof that nothing was lost, and two replays.

use std::collections::BTreeMap;

use topiclog::{Consumer, EventLog, Offset, Timestamp, Topic};

use crate::{PAYMENTS, Payment, Result};

/// Counts the receipts: every payment must have one, and only a run that was killed leaves a second.
pub(crate) fn check(receipts: &Topic) -> Result<()> {
    let mut counts: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for partition in receipts.partitions() {
        for records in partition.scan(Offset::ZERO) {
            for record in &records? {
                *counts
                    .entry(record.value().unwrap_or_default().to_vec())
                    .or_default() += 1;
            }
        }
    }
    let (all, once) = (PAYMENTS.lines().count(), counts.len());
    let more = counts.values().filter(|count| **count > 1).count();
    println!("\n{all} payments, {once} handled at least once, {more} more than once.");
    if once == all {
        Ok(())
    } else {
        Err("a payment was lost".into())
    }
}

/// Reads the payments again, by a consumer of its own: nobody else's position moves.
pub(crate) fn replay(log: &EventLog, payments: &Topic) -> Result<()> {
    let mut reader = log.consumer().assign(&payments.partitions())?;
    reader.seek_to_beginning()?;
    println!("\nReplay from the beginning: {}", sum_up(&mut reader)?);
    let afternoon = Timestamp::from_millis(1_767_276_000_000);
    reader.seek_to_time(afternoon)?;
    println!("Replay from 14:00 UTC on:  {}", sum_up(&mut reader)?);
    Ok(())
}

/// Goes through everything up to the end, and adds it up.
fn sum_up(reader: &mut Consumer) -> Result<String> {
    let (mut count, mut cents, mut by_user) = (0, 0, BTreeMap::<String, u64>::new());
    for records in reader.drain()? {
        for record in &records? {
            let payment: Payment = serde_json::from_slice(record.value().unwrap_or_default())?;
            count += 1;
            cents += payment.amount;
            *by_user.entry(payment.user).or_default() += payment.amount;
        }
    }
    let (user, most) = by_user
        .iter()
        .max_by_key(|(_, cents)| **cents)
        .ok_or("no payments")?;
    Ok(format!(
        "{count} payments, {} in all; most by {user}, {}",
        cents / 100,
        most / 100
    ))
}
