//! Which capacity provider the next task goes to (fact SVC-16): the base is filled first, then weights share the rest.
//! Pure. <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-capacity-providers.html>

use fogbank_types::ecs::CapacityProviderStrategyItem;
use std::collections::BTreeMap;

/// `None` only without a strategy. `running` counts the tasks that the strategy has placed so far.
pub fn next<'a>(
    strategy: &'a [CapacityProviderStrategyItem],
    running: &BTreeMap<String, usize>,
) -> Option<&'a str> {
    let count = |item: &CapacityProviderStrategyItem| {
        running.get(&item.capacity_provider).copied().unwrap_or(0)
    };
    if let Some(base) = strategy
        .iter()
        .find(|item| count(item) < item.base.max(0) as usize)
    {
        return Some(&base.capacity_provider);
    }
    // The one that would be least over its share with one task more; the earlier one if they are equal.
    let share = |item: &CapacityProviderStrategyItem| {
        (count(item) - item.base.max(0) as usize + 1) as f64 / f64::from(item.weight)
    };
    let weighed = strategy.iter().filter(|item| item.weight > 0);
    weighed
        .min_by(|a, b| share(a).total_cmp(&share(b)))
        .or(strategy.first())
        .map(|item| item.capacity_provider.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(name: &str, base: i32, weight: i32) -> CapacityProviderStrategyItem {
        CapacityProviderStrategyItem {
            capacity_provider: name.to_owned(),
            base,
            weight,
        }
    }

    fn place(strategy: &[CapacityProviderStrategyItem], tasks: usize) -> BTreeMap<String, usize> {
        let mut running = BTreeMap::new();
        for _ in 0..tasks {
            let chosen = next(strategy, &running).unwrap().to_owned();
            *running.entry(chosen).or_insert(0) += 1;
        }
        running
    }

    #[test]
    fn base_first_then_by_weight() {
        let strategy = [item("FARGATE", 2, 1), item("FARGATE_SPOT", 0, 3)];
        assert_eq!(place(&strategy, 2)["FARGATE"], 2);
        let ten = place(&strategy, 10);
        assert_eq!((ten["FARGATE"], ten["FARGATE_SPOT"]), (4, 6));
        assert_eq!(next(&[], &BTreeMap::new()), None);
    }

    proptest! {
        #[test]
        fn shares_are_never_off_by_more_than_one(base in 0i32..4, a in 0i32..5, b in 1i32..5, tasks in 4usize..60) {
            let strategy = [item("FARGATE", base, a), item("FARGATE_SPOT", 0, b)];
            let placed = place(&strategy, tasks);
            let rest = (tasks - base as usize) as f64;
            let spot = placed.get("FARGATE_SPOT").copied().unwrap_or(0) as f64;
            let due = rest * f64::from(b) / f64::from(a + b);
            prop_assert!((spot - due).abs() <= 1.0, "{placed:?}");
        }
    }
}
