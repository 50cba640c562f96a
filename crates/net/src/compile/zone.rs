//! Zones that the operator let fail: their interfaces are dark, before every other gate.
//!
//! A failed or isolated zone drops what enters or leaves its interfaces, known connections and the
//! router's own answers too; nothing is said to anyone, as when the power goes. A slow zone holds
//! packets up on the interfaces' links.

use super::Region;
use super::firewall::base;
use crate::names;
use crate::program::{Action, Direction, Hook, Match, Rule, Set, Table, Verdict};
use fogbank_types::ec2::{Eni, ZoneFaultKind};
use std::collections::BTreeSet;

/// Before the gate of sources, and before that of destinations.
const PREROUTING: i32 = -310;
const LEAVING: i32 = -30;

pub(super) fn delay_ms(region: &Region<'_>, eni: &Eni) -> u32 {
    match region.snapshot.zone_fault(&eni.zone) {
        Some(ZoneFaultKind::Slow { delay_ms }) => delay_ms,
        _ => 0,
    }
}

fn is_dark(region: &Region<'_>, eni: &Eni) -> bool {
    let fault = region.snapshot.zone_fault(&eni.zone);
    matches!(fault, Some(ZoneFaultKind::Failed | ZoneFaultKind::Isolated))
}

pub(super) fn add(table: &mut Table, region: &Region<'_>) {
    let enis = region.local.iter().filter(|eni| is_dark(region, eni));
    let dark: BTreeSet<String> = enis.map(|eni| names::eni_device(&eni.eni_id)).collect();
    // Also without an interface in such a zone: what an interface changes is its own element only.
    let mut faults = region.snapshot.zone_faults.all();
    if !faults.any(|fault| !matches!(fault.kind, ZoneFaultKind::Slow { .. })) {
        return;
    }
    table.sets.insert("dark".to_owned(), Set::Devices(dark));
    for (name, hook, priority, direction) in [
        ("dark_in", Hook::Prerouting, PREROUTING, Direction::In),
        ("dark_out", Hook::Forward, LEAVING, Direction::Out),
        ("dark_own", Hook::Output, LEAVING, Direction::Out),
    ] {
        let is_dark = Match::DeviceIn {
            direction,
            set: "dark".to_owned(),
            member: true,
        };
        let rules = vec![Rule::new([is_dark], Action::Do(Verdict::Drop))];
        let chain = base(hook, priority, rules);
        table.chains.insert(name.to_owned(), chain);
    }
}
