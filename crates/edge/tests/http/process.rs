//! The process and its agent.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use fogbank_edge::http::remote::Node;
use fogbank_edge::http::{Config, Event, serve, socket_path, table_path};
use fogbank_types::status::Health;
use tokio::time::sleep;

use crate::bed::{Client, GROUP, Origin, PORT, bounded, own_address, table, until};

async fn connect(config: &Config) -> Node {
    let path = socket_path(&config.run_folder, &config.eni);
    bounded(async {
        loop {
            match Node::connect(&path).await {
                Ok(node) => return node,
                Err(_) => sleep(Duration::from_millis(2)).await,
            }
        }
    })
    .await
}

async fn event(node: &mut Node) -> Event {
    bounded(node.next_event()).await.expect("an event")
}

fn mode_of(path: &Path) -> u32 {
    let metadata = std::fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}

/// One test, because signals are the whole process's.
#[tokio::test]
async fn tables_come_in_health_goes_out_and_the_last_table_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = Origin::of("ok").await;
    let ip = own_address();
    let config = Config {
        listen_on: IpAddr::V4(ip),
        ..Config::new(folder.path(), "eni-1")
    };
    let running = tokio::spawn(serve(config.clone()));
    let mut node = connect(&config).await;
    let mut table = table(&[origin.address]);
    table.revision = 7;
    table.target_groups[0].health_check.enabled = true;
    node.push(&table).await.expect("pushed");
    assert_eq!(
        event(&mut node).await,
        Event::Applied {
            revision: 7,
            unbound: vec![]
        }
    );
    let healthy = loop {
        let Event::Health(groups) = event(&mut node).await else {
            panic!("health")
        };
        assert_eq!(groups[0].target_group, GROUP);
        if groups[0].targets[0].health == Health::Healthy {
            break groups;
        }
    };
    node.ask_counts().await.expect("asked");
    assert!(matches!(event(&mut node).await, Event::Counts(_)));

    // The agent leaves; a new one hears all again.
    drop(node);
    let mut client = Client::connect((ip, PORT).into()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    let mut node = connect(&config).await;
    assert_eq!(
        event(&mut node).await,
        Event::Applied {
            revision: 7,
            unbound: vec![]
        }
    );
    assert_eq!(event(&mut node).await, Event::Health(healthy));

    // Killed, and started again without an agent: it serves its last table.
    running.abort();
    let _ = running.await;
    let kept = table_path(&config.run_folder, &config.eni);
    assert_eq!(mode_of(&kept), 0o600, "it may hold private keys");
    assert_eq!(mode_of(kept.parent().expect("a folder")), 0o700);
    let ip = own_address();
    let config = Config {
        listen_on: IpAddr::V4(ip),
        ..config
    };
    let running = tokio::spawn(serve(config.clone()));
    until(|| std::net::TcpStream::connect((ip, PORT)).is_ok()).await;
    let mut client = Client::connect((ip, PORT).into()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);

    // A successor gets the socket: the client is answered, a last time then, and so is everybody else.
    let next = tokio::spawn(serve(config.clone()));
    bounded(async {
        loop {
            let mut other = Client::connect((ip, PORT).into()).await;
            for client in [&mut client, &mut other] {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
                let answer = client.answer().await;
                assert_eq!(answer.status, 200);
                if answer.header("connection") == Some("close") {
                    return;
                }
            }
        }
    })
    .await;
    bounded(running)
        .await
        .expect("no panic")
        .expect("it ended well");
    let mut client = Client::connect((ip, PORT).into()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    let running = next;

    // SIGTERM ends it.
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
        .expect("sent");
    bounded(running)
        .await
        .expect("no panic")
        .expect("it ended well");
    assert_eq!(client.rest().await, b"");
    assert!(!socket_path(&config.run_folder, &config.eni).exists());
}
