//! Resolvers in real namespaces. The thread of a test plays the host, in a network and a `/run` of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use super::fixture::*;
use super::wire::{Server, config};
use crate::dns::message::{self, Heard};
use crate::dns::{Answer, Kind};
use crate::namespace::{Protocols, SocketMaker};

const PATIENCE: Duration = Duration::from_secs(10);
const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const UNIQUE_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253);
const LINK_LOCAL: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

/// Runs the test in a thread that sees nothing of the machine's network.
pub fn sandbox<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS) {
                eprintln!("skipped: needs root to make namespaces ({error})");
                return;
            }
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
            ip(&["link", "set", "lo", "up"]);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(test());
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

pub fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {error}");
}

fn namespace() -> String {
    config(SocketAddr::from(([127, 0, 0, 1], 1))).namespace(vpc_id(1).tail())
}

fn path() -> PathBuf {
    PathBuf::from("/run/netns").join(namespace())
}

/// A namespace with these addresses on its loopback.
pub fn make(name: &str, addresses: &[impl AsRef<str>]) {
    ip(&["netns", "add", name]);
    ip(&["-n", name, "link", "set", "lo", "up"]);
    for address in addresses {
        let address = address.as_ref();
        ip(&["-n", name, "addr", "add", address, "dev", "lo", "nodad"]);
    }
}

/// As the node does it.
fn make_namespace() {
    let addresses = [RESOLVER, LINK_LOCAL].map(|address| format!("{address}/32"));
    make(&namespace(), &addresses);
}

/// A client in the namespace; a new one each time, as the namespace may be another.
async fn client(maker: &SocketMaker, own: IpAddr) -> UdpSocket {
    let made = async {
        loop {
            if let Ok(mut sockets) = maker
                .open(&path(), &[(own, 0).into()], Protocols::UdpAndTcp)
                .await
            {
                return UdpSocket::from_std(sockets.udp.remove(0)).unwrap();
            }
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, made).await.unwrap()
}

/// Asks until somebody is there to answer.
async fn ask(maker: &SocketMaker, server: impl Into<IpAddr>, text: &str) -> Answer {
    let server = server.into();
    let own = match server {
        IpAddr::V4(_) => RESOLVER.into(),
        IpAddr::V6(_) => server,
    };
    let name = name(text);
    let question = message::write_question(1, &name, Kind::A);
    let asked = async {
        loop {
            let socket = client(maker, own).await;
            socket.send_to(&question, (server, 53)).await.unwrap();
            let mut buffer = [0; 2048];
            let answer = socket.recv_from(&mut buffer);
            if let Ok(Ok((length, from))) = timeout(Duration::from_millis(50), answer).await {
                assert_eq!(
                    from.ip(),
                    server,
                    "the answer comes from where it was asked"
                );
                match message::read_response(&buffer[..length], 1, &name, Kind::A) {
                    Some(Heard::Answer(answer)) => return answer,
                    other => panic!("{other:?}"),
                }
            }
        }
    };
    timeout(PATIENCE, asked).await.unwrap()
}

/// Waits until nobody holds port 53 of the namespace.
async fn wait_until_free(maker: &SocketMaker) {
    let free = async {
        while maker
            .open(
                &path(),
                &[(RESOLVER, 53).into(), (LINK_LOCAL, 53).into()],
                Protocols::UdpAndTcp,
            )
            .await
            .is_err()
        {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, free).await.unwrap();
}

fn region(support: bool) -> Region {
    let mut region = Region::default();
    region.zone("Z1", "example.test");
    region.record("Z1", "a.example.test", "A", &["192.0.2.1"]);
    region.vpc_with(1, "10.0.0.0/16", support, true);
    region.eni(1, 1, "10.0.1.4", None);
    region
}

#[test]
fn a_resolver_comes_with_its_namespace_and_answers_at_both_addresses() {
    sandbox(|| async {
        let server = Server::start(&region(true)).await;
        let maker = SocketMaker::start("test-sockets").unwrap();
        make_namespace();
        for address in [RESOLVER, LINK_LOCAL] {
            let answer = ask(&maker, address, "a.example.test").await;
            assert_eq!(addresses(&answer), ["192.0.2.1"]);
        }
        drop(server);
    });
}

#[test]
fn a_resolver_goes_with_dns_support_and_with_its_vpc() {
    sandbox(|| async {
        let server = Server::start(&region(true)).await;
        let maker = SocketMaker::start("test-sockets").unwrap();
        make_namespace();
        ask(&maker, RESOLVER, "a.example.test").await;
        server.put(region(false).ops()).await;
        wait_until_free(&maker).await;
        server.put(region(true).ops()).await;
        ask(&maker, RESOLVER, "a.example.test").await;
        let keys = region(true).rows.into_keys();
        let vpc = keys.filter(|key| key.starts_with("vpc/"));
        server
            .put(vpc.map(fogbank_store::Op::delete).collect())
            .await;
        wait_until_free(&maker).await;
    });
}

#[test]
fn a_resolver_moves_to_a_namespace_made_anew() {
    sandbox(|| async {
        let _server = Server::start(&region(true)).await;
        let maker = SocketMaker::start("test-sockets").unwrap();
        make_namespace();
        ask(&maker, RESOLVER, "a.example.test").await;
        ip(&["netns", "del", &namespace()]);
        make_namespace();
        ask(&maker, RESOLVER, "a.example.test").await;
    });
}

#[test]
fn a_vpc_that_gets_ipv6_has_its_resolver_there_too() {
    sandbox(|| async {
        let server = Server::start(&region(true)).await;
        let maker = SocketMaker::start("test-sockets").unwrap();
        make_namespace();
        ask(&maker, RESOLVER, "a.example.test").await;
        let mut with = region(true);
        let mut vpc = fogbank_types::ec2::Vpc::clone(with.snapshot.vpcs.all().next().unwrap());
        vpc.ipv6_cidr_associations = vec![fogbank_types::ec2::VpcIpv6CidrAssociation {
            association_id: fogbank_types::VpcCidrAssociationId::from_bits(2),
            cidr_block: "2001:2:0:100::/56".parse().unwrap(),
            state: fogbank_types::ec2::CidrState::Associated,
        }];
        with.put(vpc);
        server.put(with.ops()).await;
        let address = format!("{UNIQUE_LOCAL}/128");
        ip(&[
            "-n",
            &namespace(),
            "addr",
            "add",
            &address,
            "dev",
            "lo",
            "nodad",
        ]);
        let answer = ask(&maker, UNIQUE_LOCAL, "a.example.test").await;
        assert_eq!(addresses(&answer), ["192.0.2.1"]);
        ask(&maker, RESOLVER, "a.example.test").await;
    });
}

#[test]
fn a_vpc_without_interfaces_here_has_no_resolver() {
    sandbox(|| async {
        let server = Server::start(&region(true)).await;
        let maker = SocketMaker::start("test-sockets").unwrap();
        make_namespace();
        ask(&maker, RESOLVER, "a.example.test").await;
        let keys = region(true).rows.into_keys();
        let eni = keys.filter(|key| key.starts_with("eni/"));
        server
            .put(eni.map(fogbank_store::Op::delete).collect())
            .await;
        wait_until_free(&maker).await;
    });
}
