//! Whether every load balancer process of this host has its newest table.
//!
//! [`crate::balancers`] writes it, a task's end waits for it: a task that was taken out of its target groups gets its signal when no node
//! sends requests to it any more. Usually that was long before; but after the agent was away, the draining and its end come with one
//! snapshot. What must stay true: whoever waits, waits for the tables of a snapshot that is at least as new as his order, and not
//! without end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fogbank_types::EniId;
use tokio::sync::watch;

/// A process that does not take its table is replaced; nobody waits that long.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Open {
    /// Since tables were made of a first snapshot.
    known: bool,
    /// The number of the table that each node is to have and has not.
    nodes: HashMap<EniId, u64>,
    last: u64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Delivery(Arc<watch::Sender<Open>>);

impl Delivery {
    /// A node is to have another table. Said before the table is given out.
    pub fn begun(&self, node: &EniId) {
        self.0.send_modify(|open| {
            open.last += 1;
            open.nodes.insert(node.clone(), open.last);
        });
    }

    /// The number of the newest table of a node.
    pub fn number(&self, node: &EniId) -> u64 {
        self.0.borrow().nodes.get(node).copied().unwrap_or(0)
    }

    /// A node has the table of that number.
    pub fn done(&self, node: &EniId, number: u64) {
        self.0.send_if_modified(|open| {
            let is_newest = open.nodes.get(node) == Some(&number);
            is_newest && open.nodes.remove(node).is_some()
        });
    }

    /// Nodes that are no more wait for nothing.
    pub fn only(&self, lives: impl Fn(&EniId) -> bool) {
        self.0
            .send_modify(|open| open.nodes.retain(|node, _| lives(node)));
    }

    /// All tables of a snapshot were given out.
    pub fn know(&self) {
        self.0.send_modify(|open| open.known = true);
    }

    /// Returns when every node has its newest table, or it takes too long.
    pub async fn wait(&self) {
        let mut state = self.0.subscribe();
        let all = state.wait_for(|open| open.known && open.nodes.is_empty());
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("a task ends before every load balancer node has heard that it is out");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_open(delivery: &Delivery) -> bool {
        let open = delivery.0.borrow();
        !open.known || !open.nodes.is_empty()
    }

    #[test]
    fn before_the_first_tables_nobody_has_his_newest() {
        let delivery = Delivery::default();
        assert!(is_open(&delivery));
        delivery.know();
        assert!(!is_open(&delivery));
    }

    #[test]
    fn an_older_table_does_not_count() {
        let (delivery, node) = (Delivery::default(), EniId::from_bits(1));
        delivery.begun(&node);
        delivery.know();
        let older = delivery.number(&node);
        delivery.begun(&node);
        delivery.done(&node, older);
        assert!(is_open(&delivery));
        delivery.done(&node, delivery.number(&node));
        assert!(!is_open(&delivery));
    }

    #[test]
    fn a_node_that_is_no_more_holds_up_nobody() {
        let delivery = Delivery::default();
        delivery.begun(&EniId::from_bits(1));
        delivery.know();
        delivery.only(|_| false);
        assert!(!is_open(&delivery));
    }
}
