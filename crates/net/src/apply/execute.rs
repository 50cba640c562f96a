//! Carries out steps, one after the other, on the applier's thread.
//!
//! A step that fails does not stop the others: it is reported and its place becomes stale. Only
//! later steps at a place that could not be made or entered are skipped.

#![allow(unsafe_code)]

use super::forget::Forgetter;
use super::netlink::{Refusal, Socket};
use super::spare::{Settings, Spares};
use super::{ApplyError, failed, idle_timeouts_available, namespace, nft, route};
use crate::names;
use crate::plan::{LinkOp, NftOp, Place, Step, Work};
use crate::program::{Action, Family, MAIN, Peer, Route, RouteKey, Untracked, Veth};
use fogbank_types::RegionConfig;
use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// How many namespaces of single interfaces stay open: each takes two descriptors.
const OPEN_AT_ONCE: usize = 64;

/// An open namespace with its sockets, made when first needed.
pub(crate) struct Handle {
    file: File,
    sockets: HashMap<i32, Socket>,
    /// Folders of settings, by name.
    settings: HashMap<String, File>,
    /// Settings that it was made with.
    preset: Settings,
    indexes: HashMap<String, u32>,
}

/// A step that went wrong.
pub(crate) struct Failed {
    pub place: Place,
    /// If it is not the place's own.
    pub resource: Option<String>,
    pub reason: String,
    /// What is at the place is no longer known.
    pub stale: bool,
}

pub(crate) struct Executor {
    host: File,
    host_settings: HostSettings,
    handles: HashMap<Place, Handle>,
    spares: Spares,
    forgetter: Forgetter,
    /// Whether the kernel knows IPv6, and whether the host's own namespace takes part in it.
    ipv6: bool,
    host_ipv6: bool,
    /// Where the thread is.
    current: Place,
    /// Namespaces that may be closed again, oldest first.
    closable: Vec<Place>,
    /// Kept open: closing a netfilter socket waits for the kernel's pending work, 13 ms and more.
    routers: BTreeSet<Place>,
}

impl Executor {
    pub(crate) fn new(config: &RegionConfig) -> Result<Self, ApplyError> {
        let host = namespace::current().map_err(failed("open the host's network namespace"))?;
        Ok(Self {
            host,
            host_settings: HostSettings::of(config),
            handles: HashMap::new(),
            spares: Spares::start().map_err(failed("start a thread for spare namespaces"))?,
            forgetter: Forgetter::start().map_err(failed("start a thread for connections"))?,
            ipv6: namespace::get("ipv6/conf/all/disable_ipv6").is_ok(),
            host_ipv6: namespace::get("ipv6/conf/all/disable_ipv6").is_ok_and(|off| off == "0"),
            current: Place::Host,
            closable: Vec::new(),
            routers: BTreeSet::from([Place::Host, Place::Named(names::edge_namespace(config))]),
        })
    }

    /// Runs all steps and gives what failed.
    pub(crate) fn run(&mut self, steps: &[Step]) -> Vec<Failed> {
        let mut failures: Vec<Failed> = Vec::new();
        let mut unreachable = BTreeSet::new();
        for (n, step) in steps.iter().enumerate() {
            if unreachable.contains(&step.place) {
                continue;
            }
            if let Err((resource, reason)) = self.step(step, &steps[n..]) {
                tracing::warn!(place = %step.place, %reason, "a step failed");
                if matches!(step.work, Work::CreateNamespace) {
                    unreachable.insert(step.place.clone());
                }
                failures.push(Failed {
                    place: step.place.clone(),
                    resource,
                    reason,
                    // Without netem there is no delay, and looking again would not bring one.
                    stale: !matches!(step.work, Work::Delay { .. }),
                });
            }
            self.close_some(&step.place);
        }
        if let Err(error) = self.enter(&Place::Host) {
            failures.push(Failed {
                place: Place::Host,
                resource: None,
                reason: format!("return to the host: {error}"),
                stale: true,
            });
        }
        // Only routers keep their sockets between programs.
        for place in std::mem::take(&mut self.closable) {
            self.handles.remove(&place);
        }
        failures
    }

    fn step(&mut self, step: &Step, rest: &[Step]) -> Result<(), (Option<String>, String)> {
        let place = &step.place;
        let plain = |what: &str, result: io::Result<()>| {
            result.map_err(|error| (None, format!("{what}: {error}")))
        };
        match &step.work {
            Work::CreateNamespace => {
                let wanted = settings_of(place, &rest[1..]);
                plain("create the namespace", self.create(place, &wanted))
            }
            Work::RemoveNamespace => plain("remove the namespace", self.remove(place)),
            Work::Set { path, value } => plain(
                &format!("set {path} = {value:?}"),
                self.set(place, path, value),
            ),
            Work::AddVeth { device, veth } => self.add_veth(place, device, veth).map_err(|error| {
                (
                    None,
                    format!("make the pair {device} - {}: {error}", veth.peer.device),
                )
            }),
            Work::RemoveVeth { device } => plain(
                &format!("remove device {device}"),
                self.remove_device(place, device),
            ),
            Work::Delay {
                device,
                peer,
                delay_ms,
            } => self
                .delay(place, device, peer, *delay_ms)
                .map_err(|error| (None, format!("delay {device} by {delay_ms} ms: {error}"))),
            Work::Links(operations) => self.links(place, operations),
            Work::Firewall {
                family: Family::V6, ..
            } if !self.carries_ipv6(place) => Ok(()),
            Work::Firewall {
                family,
                table,
                operations,
            } => {
                let able = without_idle_timeouts(operations);
                let operations = able.as_deref().unwrap_or(operations);
                let socket = self
                    .socket(place, libc::NETLINK_NETFILTER)
                    .map_err(|error| (None, format!("open a netfilter socket: {error}")))?;
                nft::transact(socket, *family, table, operations)
                    .map_err(|error| (None, error.to_string()))
            }
            Work::Flush {
                addresses,
                untracked,
                tracked,
            } => plain(
                "forget connections",
                self.flush(place, addresses, untracked, tracked),
            ),
        }
    }

    /// Whether IPv6 can be had there. Where it cannot, what a program says of it is left out.
    pub(crate) fn carries_ipv6(&self, place: &Place) -> bool {
        match place {
            Place::Host => self.host_ipv6,
            Place::Named(_) => self.ipv6,
        }
    }

    /// The open namespace; opens it if need be.
    fn handle(&mut self, place: &Place) -> io::Result<&mut Handle> {
        if !self.handles.contains_key(place) {
            let file = match place {
                Place::Host => self.host.try_clone()?,
                Place::Named(name) => namespace::open(name)?,
            };
            self.adopt(place, file);
        }
        Ok(self
            .handles
            .get_mut(place)
            .expect("it was put there just now"))
    }

    fn adopt(&mut self, place: &Place, file: File) {
        let handle = Handle {
            file,
            sockets: HashMap::new(),
            settings: HashMap::new(),
            preset: Settings::new(),
            indexes: HashMap::new(),
        };
        self.handles.insert(place.clone(), handle);
        if !self.routers.contains(place) {
            self.closable.push(place.clone());
        }
    }

    /// Keeps these namespaces and their sockets open until they are removed.
    pub(crate) fn keep(&mut self, routers: impl Iterator<Item = Place>) {
        self.routers.extend(routers);
        let routers = &self.routers;
        self.closable.retain(|place| !routers.contains(place));
    }

    fn close_some(&mut self, busy: &Place) {
        while self.closable.len() > OPEN_AT_ONCE {
            let oldest = self.closable.remove(0);
            if oldest == *busy || oldest == self.current {
                self.closable.push(oldest);
                return;
            }
            self.handles.remove(&oldest);
        }
    }

    /// Closes everything, so that removed namespaces can go.
    pub(crate) fn forget_all(&mut self) {
        self.handles.clear();
        self.forgetter.close(None);
        self.closable.clear();
    }

    pub(crate) fn forget(&mut self, place: &Place) {
        self.handles.remove(place);
        self.closable.retain(|other| other != place);
    }

    /// Moves the thread.
    pub(crate) fn enter(&mut self, place: &Place) -> io::Result<()> {
        if self.current != *place {
            namespace::enter(&self.handle(place)?.file)?;
            self.current = place.clone();
        }
        Ok(())
    }

    /// The place's socket of that protocol.
    pub(crate) fn socket(&mut self, place: &Place, protocol: i32) -> io::Result<&mut Socket> {
        let missing = !self.handle(place)?.sockets.contains_key(&protocol);
        if missing {
            self.enter(place)?;
            let socket = Socket::open(protocol)?;
            self.handle(place)?.sockets.insert(protocol, socket);
        }
        let sockets = &mut self.handle(place)?.sockets;
        Ok(sockets
            .get_mut(&protocol)
            .expect("it was put there just now"))
    }

    fn routing(&mut self, place: &Place) -> io::Result<&mut Socket> {
        self.socket(place, libc::NETLINK_ROUTE)
    }

    fn create(&mut self, place: &Place, wanted: &Settings) -> io::Result<()> {
        let Place::Named(name) = place else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // Routers are few, and their settings are others.
        let spare = match self.routers.contains(place) {
            true => None,
            false => self.spares.take(wanted),
        };
        let file = namespace::create(name, spare.as_ref().map(|spare| &spare.file))?;
        self.current = place.clone();
        self.adopt(place, file);
        if let Some(spare) = spare {
            self.handle(place)?.preset = spare.settings;
            return Ok(());
        }
        const LOOPBACK: u32 = 1;
        only(
            self.routing(place)?
                .exchange(vec![route::set_up(LOOPBACK)])?,
        )
    }

    fn remove(&mut self, place: &Place) -> io::Result<()> {
        let Place::Named(name) = place else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if self.current == *place {
            self.enter(&Place::Host)?;
        }
        self.forget(place);
        self.forgetter.close(Some(place));
        self.routers.remove(place);
        namespace::forget(name)
    }

    fn set(&mut self, place: &Place, path: &str, value: &str) -> io::Result<()> {
        if self.handle(place)?.preset.get(path).map(String::as_str) == Some(value) {
            return Ok(());
        }
        if *place == Place::Host {
            self.enter(place)?;
            self.host_settings.keep(path, value)?;
        }
        match self.set_in(place, path, value) {
            // A kernel without IPv6 needs no setting to keep it out.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.starts_with("ipv6/") => {
                Ok(())
            }
            done => done,
        }
    }

    fn set_in(&mut self, place: &Place, path: &str, value: &str) -> io::Result<()> {
        let (root, rest) = path.split_once('/').ok_or(io::ErrorKind::InvalidInput)?;
        if !self.handle(place)?.settings.contains_key(root) {
            self.enter(place)?;
            let dir = namespace::settings_dir(root)?;
            self.handle(place)?.settings.insert(root.to_owned(), dir);
        }
        namespace::set_in(&self.handle(place)?.settings[root], rest, value)
    }

    fn flush(
        &mut self,
        place: &Place,
        addresses: &BTreeSet<IpAddr>,
        untracked: &BTreeSet<Untracked>,
        tracked: &BTreeSet<IpAddr>,
    ) -> io::Result<()> {
        let namespace = self.handle(place)?.file.try_clone()?;
        self.forgetter
            .forget(place, namespace, addresses, untracked, tracked)
    }

    /// Waits until the connections of earlier owners of these addresses are forgotten.
    pub(crate) fn await_forgotten(
        &mut self,
        place: &Place,
        addresses: impl Iterator<Item = IpAddr>,
    ) -> io::Result<()> {
        for address in addresses {
            if let Err(error) = self.forgetter.wait(place, address) {
                // It stays so until that is done.
                let none = (BTreeSet::new(), BTreeSet::new());
                self.flush(place, &BTreeSet::from([address]), &none.0, &none.1)?;
                return Err(error);
            }
        }
        Ok(())
    }

    pub(crate) fn forgets(&self) -> bool {
        !self.forgetter.is_idle()
    }

    fn index(&mut self, place: &Place, device: &str) -> io::Result<u32> {
        if let Some(index) = self.handle(place)?.indexes.get(device) {
            return Ok(*index);
        }
        self.enter(place)?;
        let name = CString::new(device)?;
        // SAFETY: the string is zero-terminated and live.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        self.handle(place)?.indexes.insert(device.to_owned(), index);
        Ok(index)
    }

    fn forget_index(&mut self, place: &Place, device: &str) {
        if let Some(handle) = self.handles.get_mut(place) {
            handle.indexes.remove(device);
        }
    }

    fn add_veth(&mut self, place: &Place, device: &str, veth: &Veth) -> io::Result<()> {
        let peer = match &veth.peer.namespace {
            Some(name) => Place::Named(name.clone()),
            None => Place::Host,
        };
        self.forget_index(place, device);
        self.forget_index(&peer, &veth.peer.device);
        let message = {
            let file = self.handle(&peer)?.file.try_clone()?;
            // The descriptor's number goes into the message and must live until it is sent.
            let message = route::add_veth(device, veth, file.as_fd());
            let sent = self.routing(place)?.exchange(vec![message.clone()])?;
            (message, only(sent), file)
        };
        if let (message, Err(error), _file) = &message
            && error.raw_os_error() == Some(libc::EEXIST)
        {
            // Remains of an earlier pair of the same name.
            for (at, name) in [(place, device), (&peer, veth.peer.device.as_str())] {
                self.remove_device(at, name)?;
            }
            only(self.routing(place)?.exchange(vec![message.clone()])?)?;
        } else {
            message.1?;
        }
        let proxy = if veth.proxy_arp { "1" } else { "0" };
        self.set_in(place, &format!("ipv4/conf/{device}/proxy_arp"), proxy)?;
        if veth.proxy_arp {
            // The kernel's default is a random delay of up to 0.8 s before the first answer, and
            // `neigh/default` cannot be set in a namespace.
            self.set_in(place, &format!("ipv4/neigh/{device}/proxy_delay"), "0")?;
        }
        for (at, name) in [(&peer, veth.peer.device.as_str()), (place, device)] {
            let index = self.index(at, name)?;
            only(self.routing(at)?.exchange(vec![route::set_up(index)])?)?;
        }
        Ok(())
    }

    fn delay(&mut self, place: &Place, device: &str, peer: &Peer, delay_ms: u32) -> io::Result<()> {
        let other = match &peer.namespace {
            Some(name) => Place::Named(name.clone()),
            None => Place::Host,
        };
        for (at, name) in [(place, device), (&other, peer.device.as_str())] {
            let index = self.index(at, name)?;
            let message = route::delay_message(index, delay_ms);
            match only(self.routing(at)?.exchange(vec![message])?) {
                Err(error) if delay_ms > 0 && error.raw_os_error() == Some(libc::ENOENT) => {
                    return Err(io::Error::other("this kernel has no netem (sch_netem)"));
                }
                // There was none.
                Err(error)
                    if delay_ms == 0
                        && matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn remove_device(&mut self, place: &Place, device: &str) -> io::Result<()> {
        self.forget_index(place, device);
        let index = match self.index(place, device) {
            Ok(index) => index,
            // Gone with its other end.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.forget_index(place, device);
        let removed = self
            .routing(place)?
            .exchange(vec![route::remove_link(index)])?;
        match only(removed) {
            // It went with its other end's namespace meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            done => done,
        }
    }

    fn links(
        &mut self,
        place: &Place,
        operations: &[LinkOp],
    ) -> Result<(), (Option<String>, String)> {
        let mut problems = Vec::new();
        let mut sent = Vec::with_capacity(operations.len());
        let mut messages = Vec::with_capacity(operations.len());
        let carries_ipv6 = self.carries_ipv6(place);
        for operation in operations {
            if !carries_ipv6 && route::family_of(operation) == Family::V6 {
                continue;
            }
            let index = match route::device_of(operation) {
                None => Ok(0),
                Some(device) => self.index(place, device),
            };
            match index {
                Ok(index) => {
                    messages.push(route::encode(operation, index));
                    sent.push(operation);
                }
                Err(_) if is_removal(operation) => {}
                Err(error) => problems.push(format!("{operation:?}: {error}")),
            }
        }
        let outcome = self
            .routing(place)
            .and_then(|socket| socket.exchange(messages))
            .map_err(|error| (None, format!("change routes: {error}")))?;
        for (operation, result) in sent.into_iter().zip(outcome) {
            let result = match result {
                Err(refusal) if matches!(refusal.errno, libc::EACCES | libc::EINVAL) => {
                    self.with_ipv6_on(place, operation, refusal)
                }
                result => result,
            };
            match result {
                Err(refusal) if !route::already_so(operation, &refusal) => {
                    problems.push(format!("{operation:?}: {refusal}"));
                }
                _ => {}
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err((None, problems.join("; ")))
        }
    }

    /// Tries again what was refused because IPv6 is switched off on its device: one that was made
    /// while it was off everywhere, by an earlier version.
    fn with_ipv6_on(
        &mut self,
        place: &Place,
        operation: &LinkOp,
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        let (Family::V6, Some(device)) = (route::family_of(operation), route::device_of(operation))
        else {
            return Err(refusal);
        };
        let again = |executor: &mut Self| -> io::Result<Vec<Result<(), Refusal>>> {
            let index = executor.index(place, device)?;
            executor.set_in(place, &format!("ipv6/conf/{device}/disable_ipv6"), "0")?;
            let message = route::encode(operation, index);
            executor.routing(place)?.exchange(vec![message])
        };
        match again(self).map(|outcome| outcome.into_iter().next()) {
            Ok(Some(outcome)) => outcome,
            _ => Err(refusal),
        }
    }

    /// Removes a firewall table if it is there.
    pub(crate) fn remove_table(
        &mut self,
        place: &Place,
        family: Family,
        table: &str,
    ) -> io::Result<()> {
        // Where IPv6 was switched off since, its table may still be there.
        if family == Family::V6 && !self.ipv6 {
            return Ok(());
        }
        let socket = self.socket(place, libc::NETLINK_NETFILTER)?;
        let operations = [NftOp::AddTable, NftOp::DeleteTable];
        nft::transact(socket, family, table, &operations).map_err(io::Error::other)
    }

    /// Link and routes on the host's side: first the route, then the link, the blackhole last.
    pub(super) fn remove_host_side(&mut self, config: &RegionConfig) -> Result<(), ApplyError> {
        self.enter(&Place::Host)
            .and_then(|()| self.host_settings.restore())
            .map_err(failed("restore the host's settings"))?;
        let device = names::host_device(config);
        self.remove_device(&Place::Host, &device)
            .map_err(failed(format!("remove device {device}")))?;
        for pool in crate::observe::pools(config) {
            // A pool that still leads somewhere is another region's, and so is its blackhole: this one was refused it.
            if crate::observe::check_pool(self, config, pool).is_err() {
                continue;
            }
            let key = RouteKey {
                table: MAIN,
                destination: pool,
                metric: crate::compile::POOL_BLACKHOLE_METRIC,
            };
            let removal = LinkOp::RemoveRoute(key, Route::Blackhole);
            self.links(&Place::Host, &[removal])
                .map_err(|(_, reason)| ApplyError::Io {
                    what: format!("remove the blackhole of {pool}"),
                    source: io::Error::other(reason),
                })?;
        }
        Ok(())
    }
}

/// What the host's own settings were before we changed them, in a file that lives as long as the machine runs: the
/// teardown after a crash must know it too.
struct HostSettings {
    file: PathBuf,
}

impl HostSettings {
    fn of(config: &RegionConfig) -> Self {
        Self {
            file: config.run_dir.join("host-settings"),
        }
    }

    fn kept(&self) -> io::Result<String> {
        match std::fs::read_to_string(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }

    /// Writes a setting down before it is changed for the first time.
    fn keep(&self, path: &str, value: &str) -> io::Result<()> {
        let (old, kept) = (namespace::get(path)?, self.kept()?);
        let known = kept
            .lines()
            .any(|line| line.starts_with(&format!("{path}=")));
        if old == value || known {
            return Ok(());
        }
        std::fs::write(&self.file, format!("{kept}{path}={old}\n"))
    }

    fn restore(&self) -> io::Result<()> {
        let kept = self.kept()?;
        if kept.is_empty() {
            return Ok(());
        }
        for (path, old) in kept.lines().filter_map(|line| line.split_once('=')) {
            namespace::set(path, old)?;
        }
        std::fs::remove_file(&self.file)
    }
}

/// What is set at a place right after it was made.
fn settings_of(place: &Place, steps: &[Step]) -> Settings {
    let here = steps.iter().take_while(|step| step.place == *place);
    let settings = here.filter_map(|step| match &step.work {
        Work::Set { path, value } => Some((path.clone(), value.clone())),
        _ => None,
    });
    settings.collect()
}

/// The operations but for idle timeouts, if there are any and this kernel has none.
fn without_idle_timeouts(operations: &[NftOp]) -> Option<Vec<NftOp>> {
    let is_about = |operation: &NftOp| match operation {
        NftOp::AddTimeout { .. } | NftOp::DeleteTimeout { .. } => true,
        NftOp::AddRule { rule, .. } => matches!(rule.action, Action::SetTimeout(_)),
        _ => false,
    };
    let concerned = operations.iter().any(is_about) && !idle_timeouts_available();
    let rest = operations.iter().filter(|operation| !is_about(operation));
    concerned.then(|| rest.cloned().collect())
}

fn is_removal(operation: &LinkOp) -> bool {
    matches!(
        operation,
        LinkOp::RemoveAddress(_)
            | LinkOp::RemoveNeighbour(..)
            | LinkOp::RemoveRoute(..)
            | LinkOp::RemoveRule(_)
    )
}

/// The answer to a single message.
fn only(outcome: Vec<Result<(), Refusal>>) -> io::Result<()> {
    match outcome.into_iter().next() {
        Some(Err(refusal)) => Err(io::Error::from_raw_os_error(refusal.errno)),
        _ => Ok(()),
    }
}
