//! Doors in real namespaces. The thread of a test plays the host, in a network and a `/run` of its own.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogbank_store::{Memory, Op, Store, Txn};
use fogbank_types::ec2::{EniOwner, VpcEndpoint, VpcEndpointKind, VpcEndpointState};
use fogbank_types::*;
use nix::sched::{CloneFlags, setns};

use super::bed::{Api, PATIENCE};
use crate::dns::tests::fixture::{Region, eni, scope, vpc_id};
use crate::dns::tests::kernel::{ip, make, sandbox};
use crate::services::serve;

const OWN: &str = "10.0.0.5";

fn config(data: &tempfile::TempDir) -> RegionConfig {
    RegionConfig {
        run_dir: data.path().to_owned(),
        data_dir: data.path().to_owned(),
        ..crate::dns::tests::fixture::config()
    }
}

fn rows() -> Vec<Op> {
    let mut region = Region::default();
    let mut eni = eni(1, 1, OWN, None);
    eni.owner = EniOwner::VpcEndpoint(VpcEndpointId::from_bits(1));
    region.put(eni);
    region.put(VpcEndpoint {
        scope: scope(),
        vpc_endpoint_id: VpcEndpointId::from_bits(1),
        vpc_id: vpc_id(1),
        service_name: "com.amazonaws.us-east-1.ecs".to_owned(),
        kind: VpcEndpointKind::Interface {
            subnet_ids: Vec::new(),
            eni_ids: vec![EniId::from_bits(1)],
            group_ids: Vec::new(),
            private_dns_enabled: true,
            ip_address_type: "ipv4".to_owned(),
            dns_suffix: "abcdefgh".to_owned(),
        },
        state: VpcEndpointState::Available,
        policy_document: String::new(),
        client_token: None,
        created_at: Timestamp(0),
        tags: Tags::new(),
    });
    region.ops()
}

/// Runs that on a thread of its own in that namespace.
async fn inside<R: Send + 'static>(name: &str, work: impl FnOnce() -> R + Send + 'static) -> R {
    let path = PathBuf::from("/run/netns").join(name);
    let done = tokio::task::spawn_blocking(move || {
        let thread = std::thread::spawn(move || {
            let namespace = std::fs::File::open(path).unwrap();
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap()
    });
    done.await.unwrap()
}

/// The status that a request in that namespace is answered with; tries until somebody listens.
async fn status(name: &str, address: IpAddr, request: String) -> u16 {
    inside(name, move || {
        let start = Instant::now();
        loop {
            match TcpStream::connect((address, 80)) {
                Ok(mut stream) => {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    stream.write_all(request.as_bytes()).unwrap();
                    let mut head = [0; 12];
                    stream.read_exact(&mut head).unwrap();
                    return std::str::from_utf8(&head[9..]).unwrap().parse().unwrap();
                }
                Err(error) if start.elapsed() > PATIENCE => panic!("{error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    })
    .await
}

fn connect_from(own: &str, door: &str) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let stream = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&stream, &own.parse::<SocketAddr>().unwrap()).unwrap();
    connect(&stream, &door.parse::<SocketAddr>().unwrap()).unwrap();
    stream.into()
}

fn call(scope: &str) -> String {
    super::bed::signed("POST", "/", "ecs.us-east-1.amazonaws.com", scope, "")
}

#[test]
fn doors_open_where_their_addresses_are_and_close_with_them() {
    sandbox(|| async {
        let data = tempfile::tempdir().unwrap();
        let config = config(&data);
        let _api = Api::start_at(config.door_socket());
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let serving = tokio::spawn(serve(config.clone(), store.clone()));
        let edge = config.namespace("edge");
        make(
            &edge,
            &[
                "198.18.0.8/32",
                "198.18.0.9/32",
                "198.18.0.10/32",
                "2001:2::8/128",
            ],
        );
        let public: IpAddr = "198.18.0.8".parse().unwrap();
        assert_eq!(status(&edge, public, call("us-east-1/ec2")).await, 200);
        let storage: IpAddr = "198.18.0.9".parse().unwrap();
        assert_eq!(status(&edge, storage, call("us-east-1/s3")).await, 405);
        let v6: IpAddr = "2001:2::8".parse().unwrap();
        assert_eq!(status(&edge, v6, call("us-east-1/ec2")).await, 200);

        let own = config.namespace(EniId::from_bits(1).tail());
        make(&own, &[&format!("{OWN}/32")]);
        let _ = store.txn(Txn::of(rows())).await.unwrap();
        let address: IpAddr = OWN.parse().unwrap();
        assert_eq!(status(&own, address, call("us-east-1/ecs")).await, 200);
        assert_eq!(status(&own, address, call("us-east-1/ec2")).await, 400);

        // Made anew, as after the node's namespaces were lost.
        ip(&["netns", "del", &own]);
        make(&own, &[&format!("{OWN}/32")]);
        assert_eq!(status(&own, address, call("us-east-1/ecs")).await, 200);
        serving.abort();
    });
}

#[test]
fn one_client_cannot_take_all_connections() {
    sandbox(|| async {
        let data = tempfile::tempdir().unwrap();
        let config = config(&data);
        let _api = Api::start_at(config.door_socket());
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let serving = tokio::spawn(serve(config.clone(), store.clone()));
        let edge = config.namespace("edge");
        make(&edge, &["198.18.0.8/32", "198.18.0.9/32", "198.18.0.10/32"]);
        let public: IpAddr = "198.18.0.8".parse().unwrap();
        assert_eq!(status(&edge, public, call("us-east-1/ec2")).await, 200);
        // At both public doors together.
        let (held, turned_away) = inside(&edge, || {
            let mut all: Vec<TcpStream> = (0..150)
                .flat_map(|_| ["198.18.0.8:80", "198.18.0.9:80"])
                .map(|door| connect_from("198.18.0.10:0", door))
                .collect();
            let (mut held, mut turned_away) = (0, 0);
            // The newest first: whoever is turned away hears it at once.
            for stream in all.iter_mut().rev() {
                let timeout = if held == 0 { 1_000 } else { 1 };
                let timeout = Some(Duration::from_millis(timeout));
                stream.set_read_timeout(timeout).unwrap();
                match stream.read(&mut [0]) {
                    Ok(0) => turned_away += 1,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                        turned_away += 1;
                    }
                    _ => held += 1,
                }
            }
            (held, turned_away)
        })
        .await;
        assert_eq!((held, turned_away), (256, 44));
        serving.abort();
    });
}
