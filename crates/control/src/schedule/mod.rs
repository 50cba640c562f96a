//! Where a task goes: pure, the same input gives the same answer.
//!
//! Tasks of a group are spread over the zones of their subnets; within a zone the subnet with most free addresses wins
//! (fact SVC-13). A failed zone gets nothing (fact REG-6). Called by `model::ecs::tasks` for every start. One host carries
//! everything for now.

use fogbank_types::SubnetId;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A subnet that a task may be placed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub subnet_id: SubnetId,
    pub zone: String,
    pub free_addresses: usize,
    /// Nothing can be started in the zone now.
    pub failed: bool,
}

/// The candidates outside failed zones, best first. `tasks_by_zone` counts the group's tasks that run or will. Full subnets come last, so
/// that the caller gets AWS's reason if there is no other.
pub fn order(
    mut candidates: Vec<Candidate>,
    tasks_by_zone: &BTreeMap<String, usize>,
) -> Vec<Candidate> {
    let key = |c: &Candidate| {
        let load = tasks_by_zone.get(&c.zone).copied().unwrap_or(0);
        (
            c.free_addresses == 0,
            load,
            c.zone.clone(),
            Reverse(c.free_addresses),
            c.subnet_id.clone(),
        )
    };
    candidates.retain(|candidate| !candidate.failed);
    // A zone with room counts once: its best subnet decides its place, not the order they were given in.
    candidates.sort_by_key(key);
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(number: u128, zone: &str, free_addresses: usize) -> Candidate {
        Candidate {
            subnet_id: SubnetId::from_bits(number),
            zone: zone.to_owned(),
            free_addresses,
            failed: false,
        }
    }

    #[test]
    fn a_failed_zone_gets_nothing() {
        let failed = Candidate {
            failed: true,
            ..candidate(1, "a", 10)
        };
        let all = vec![failed.clone(), candidate(2, "b", 0)];
        let zones: Vec<_> = order(all, &BTreeMap::new())
            .into_iter()
            .map(|c| c.zone)
            .collect();
        assert_eq!(zones, ["b"]);
        assert!(order(vec![failed], &BTreeMap::new()).is_empty());
    }

    #[test]
    fn the_zone_with_fewest_tasks_wins_then_the_subnet_with_most_room() {
        let all = vec![
            candidate(1, "a", 10),
            candidate(2, "b", 5),
            candidate(3, "b", 6),
        ];
        let counts = BTreeMap::from([("a".to_owned(), 1)]);
        let order: Vec<_> = order(all, &counts)
            .into_iter()
            .map(|c| c.subnet_id)
            .collect();
        assert_eq!(order, [3, 2, 1].map(SubnetId::from_bits));
    }

    #[test]
    fn a_full_subnet_is_the_last_resort() {
        let all = vec![candidate(1, "a", 0), candidate(2, "b", 1)];
        let counts = BTreeMap::from([("b".to_owned(), 9)]);
        assert_eq!(order(all, &counts)[0].zone, "b");
    }

    proptest! {
        #[test]
        fn one_after_the_other_they_spread_evenly(tasks in 1usize..40, zones in 1usize..5) {
            let all: Vec<_> = (0..zones).map(|z| candidate(z as u128, &z.to_string(), 100)).collect();
            let mut counts = BTreeMap::new();
            for _ in 0..tasks {
                let best = order(all.clone(), &counts).remove(0);
                *counts.entry(best.zone).or_insert(0) += 1;
            }
            let most = counts.values().max().copied().unwrap_or(0);
            let least = if counts.len() < zones { 0 } else { counts.values().min().copied().unwrap_or(0) };
            prop_assert!(most - least <= 1);
        }

        #[test]
        fn the_order_given_does_not_matter(free in proptest::collection::vec(0usize..5, 1..6), seed in 0usize..6) {
            let all: Vec<_> = free.iter().enumerate().map(|(n, f)| candidate(n as u128, ["a", "b"][n % 2], *f)).collect();
            let mut turned = all.clone();
            turned.rotate_left(seed % all.len());
            prop_assert_eq!(order(all, &BTreeMap::new()), order(turned, &BTreeMap::new()));
        }
    }
}
