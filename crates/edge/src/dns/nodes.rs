//! The names of a zone and their records, in shards that copies of the zone share: a change copies the shard of its
//! name, not the zone.
//!
//! What must stay true: a name is here if it, or one below it, has records, and so is the apex.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use super::name::Name;
use super::zone::Set;

/// Names in a shard, about. A change copies so many.
const SHARD: usize = 64;

/// Names of the zone's owner alone get in, so a hash without a secret will do; questions only look.
type Shard = HashMap<Name, Node, FxBuildHasher>;

/// See the module.
#[derive(Clone, Debug)]
pub struct Nodes {
    /// Their number is a power of two.
    shards: Vec<Arc<Shard>>,
    origin: Name,
    len: usize,
}

/// The sets of one name.
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub sets: Arc<[Set]>,
    /// Names right below that are here.
    children: u32,
}

impl Nodes {
    /// For about so many names.
    pub fn new(origin: Name, names: usize) -> Self {
        let mut shards = Vec::new();
        shards.resize_with((names / SHARD).next_power_of_two(), Arc::default);
        let mut nodes = Self {
            shards,
            origin: origin.clone(),
            len: 0,
        };
        nodes.insert(origin);
        nodes
    }

    pub fn get(&self, wire: &[u8]) -> Option<&Node> {
        self.shards[self.shard(wire)].get(wire)
    }

    pub fn get_key_value(&self, wire: &[u8]) -> Option<(&Name, &Node)> {
        self.shards[self.shard(wire)].get_key_value(wire)
    }

    pub fn contains(&self, wire: &[u8]) -> bool {
        self.get(wire).is_some()
    }

    /// Gives a name its sets; with none it goes, unless others stand below it. Names above come and go with it.
    pub fn set(&mut self, name: Name, sets: Vec<Set>) {
        if sets.is_empty() && !self.contains(name.wire()) {
            return;
        }
        let is_empty = sets.is_empty();
        self.insert(name.clone()).sets = sets.into();
        if is_empty {
            self.prune(name);
        }
        if self.len > 2 * SHARD * self.shards.len() {
            self.spread();
        }
    }

    /// The node of a name, made if need be together with those above.
    fn insert(&mut self, name: Name) -> &mut Node {
        if !self.contains(name.wire()) {
            self.len += 1;
            let mut below = name.clone();
            while below != self.origin
                && let Some(parent) = below.parent()
            {
                let is_new = !self.contains(parent.wire());
                self.len += usize::from(is_new);
                self.at(parent.clone()).children += 1;
                if !is_new {
                    break;
                }
                below = parent;
            }
        }
        self.at(name)
    }

    fn prune(&mut self, mut name: Name) {
        while name != self.origin
            && let Some(node) = self.get(name.wire())
            && node.sets.is_empty()
            && node.children == 0
            && let Some(parent) = name.parent()
        {
            let shard = self.shard(name.wire());
            Arc::make_mut(&mut self.shards[shard]).remove(name.wire());
            self.len -= 1;
            self.at(parent.clone()).children -= 1;
            name = parent;
        }
    }

    fn at(&mut self, name: Name) -> &mut Node {
        let shard = self.shard(name.wire());
        Arc::make_mut(&mut self.shards[shard])
            .entry(name)
            .or_default()
    }

    /// The maps below use a hash's lowest and highest bits.
    fn shard(&self, wire: &[u8]) -> usize {
        match self.shards.len() {
            1 => 0,
            n => (FxBuildHasher.hash_one(wire) >> 32) as usize & (n - 1),
        }
    }

    fn spread(&mut self) {
        let mut wider = Vec::new();
        wider.resize_with(self.shards.len() * 2, Arc::default);
        let old = std::mem::replace(&mut self.shards, wider);
        for (name, node) in old.iter().flat_map(|shard| shard.iter()) {
            *self.at(name.clone()) = node.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::kind::Kind;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn sets() -> Vec<Set> {
        vec![Set::simple(Kind::A, 60, vec![Arc::from([192, 0, 2, 1])])]
    }

    /// What must be there: names with records, and all between them and the apex.
    fn wanted(with_records: &BTreeSet<String>) -> BTreeSet<Name> {
        let mut all = BTreeSet::from([name("z.test")]);
        for text in with_records {
            let mut current = Some(name(text));
            while let Some(each) = current.filter(|each| each.is_within(name("z.test").wire())) {
                current = each.parent();
                all.insert(each);
            }
        }
        all
    }

    fn found(nodes: &Nodes) -> BTreeSet<Name> {
        let all = nodes.shards.iter().flat_map(|shard| shard.keys());
        all.cloned().collect()
    }

    proptest! {
        #[test]
        fn names_come_and_go_with_their_records(
            steps in prop::collection::vec(("([ab]\\.){0,4}", any::<bool>()), 1..40)
        ) {
            let mut nodes = Nodes::new(name("z.test"), 0);
            let mut with_records = BTreeSet::new();
            for (prefix, put) in steps {
                let text = format!("{prefix}z.test");
                nodes.set(name(&text), if put { sets() } else { Vec::new() });
                match put {
                    true => with_records.insert(text),
                    false => with_records.remove(&text),
                };
                prop_assert_eq!(found(&nodes), wanted(&with_records));
                prop_assert_eq!(nodes.len, found(&nodes).len());
            }
        }
    }

    #[test]
    fn a_zone_that_grows_spreads_and_a_copy_stays_what_it_was() {
        let mut nodes = Nodes::new(name("z.test"), 0);
        let text = |n: usize| format!("host-{n}.z.test");
        for n in 0..1000 {
            nodes.set(name(&text(n)), sets());
        }
        assert!(nodes.shards.len() >= 8, "{}", nodes.shards.len());
        let copy = nodes.clone();
        nodes.set(name(&text(7)), Vec::new());
        let shared = nodes
            .shards
            .iter()
            .zip(&copy.shards)
            .filter(|(a, b)| Arc::ptr_eq(a, b));
        // The name's shard and its parent's.
        assert!(shared.count() >= nodes.shards.len() - 2);
        assert!(!nodes.contains(name(&text(7)).wire()));
        assert!((0..1000).all(|n| copy.contains(name(&text(n)).wire())));
    }
}
