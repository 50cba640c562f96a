//! The logs of a node that serves.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use fogbank_edge::http::{Home, LogDestination, Logs, Worker};

use crate::bed::{Bed, Origin, PORT, Script, own_address, until};

/// A load balancer that writes all logs below this folder.
fn logging(folder: &Path, origin: &Origin) -> Bed {
    let mut bed = Bed::new(&[origin.address]);
    bed.address = (own_address(), PORT).into();
    let home = Home {
        data_folder: folder.to_owned(),
        eni: "eni-1".into(),
    };
    bed.worker = Worker::with_logs(bed.address.ip(), 100, Logs::new(home));
    let place = Some(LogDestination {
        bucket: "logs".into(),
        prefix: None,
    });
    bed.change(|table| {
        table.identity.account = "000000000000".into();
        table.identity.region = "us-east-1".into();
        table.attributes.access_log = place.clone();
        table.attributes.connection_log = place.clone();
        table.attributes.health_check_log = place;
    });
    bed
}

/// All lines of the logs whose files' names begin so.
pub fn lines(bed: &Bed, folder: &Path, name: &str) -> Vec<String> {
    bed.worker.logs.finish(Duration::from_secs(10));
    let mut text = String::new();
    let mut folders = vec![folder.join("buckets")];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if entry.file_name().to_string_lossy().starts_with(name) {
                let file = std::fs::File::open(path).expect("a file");
                let mut reader = flate2::read::MultiGzDecoder::new(file);
                reader.read_to_string(&mut text).expect("gzip");
            }
        }
    }
    text.lines().map(str::to_owned).collect()
}

pub fn fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (field, tail) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("an ending quote"),
            None => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
        };
        fields.push(field.to_owned());
        rest = tail.strip_prefix(' ').unwrap_or(tail);
    }
    fields
}

#[tokio::test]
async fn every_request_has_a_line_and_its_connection_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = Origin::of("hello").await;
    let bed = logging(folder.path(), &origin);
    let mut client = bed.client().await;
    for _ in 0..2 {
        client
            .send("POST /a?b=c HTTP/1.1\r\nHost: a.test:8080\r\nUser-Agent: x/1\r\nContent-Length: 3\r\n\r\nabc")
            .await;
        assert_eq!(client.answer().await.status, 200);
    }
    let trace = origin.last().header("x-amzn-trace-id").map(str::to_owned);
    client.send("BAD\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 400);
    drop(client);
    until(|| bed.worker.counts().node.active_connections == 0).await;
    let access = lines(&bed, folder.path(), "000000000000_");
    let connections = lines(&bed, folder.path(), "conn_log_");
    assert_eq!(
        (access.len(), connections.len()),
        (3, 1),
        "{access:?} {connections:?}"
    );
    let second = fields(&access[1]);
    assert_eq!(second.len(), 34, "{}", access[1]);
    assert_eq!(second[0], "http");
    assert_eq!(second[4], origin.address.to_string());
    assert_eq!(second[8..10], ["200", "200"]);
    assert_eq!(second[10], "82", "the head and three bytes");
    assert_eq!(
        second[12..14],
        [
            format!("POST http://a.test:{PORT}/a?b=c HTTP/1.1").as_str(),
            "x/1"
        ]
    );
    assert_eq!(Some(&second[17]), trace.as_ref());
    assert_eq!(second[20], "0");
    assert_eq!(second[22], "forward");
    let refused = fields(&access[2]);
    assert_eq!(refused[8], "400");
    assert_eq!(
        refused[12],
        format!("- http://test-1.us-east-1.elb.amazonaws.com:{PORT}- -")
    );
    let connection = fields(&connections[0]);
    assert_eq!(connection[3], PORT.to_string());
    assert_eq!(
        [&connection[11]; 3],
        [&second[29], &refused[29], &fields(&access[0])[29]]
    );
}

#[tokio::test]
async fn a_client_that_leaves_is_logged_as_460() {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = Origin::start(|_| Script::Silence).await;
    let bed = logging(folder.path(), &origin);
    let mut client = bed.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        .await;
    until(|| {
        bed.worker
            .counts()
            .groups
            .values()
            .any(|group| group.requests > 0)
    })
    .await;
    drop(client);
    until(|| bed.worker.counts().node.active_connections == 0).await;
    let access = lines(&bed, folder.path(), "000000000000_");
    let line = fields(&access[0]);
    assert_eq!(line[8..10], ["460", "-"]);
    assert_eq!(line[5..8], ["-1"; 3]);
}
