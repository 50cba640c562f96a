//! Measures what the store costs: `cargo run --release -p fogbank-store --example latency [FOLDER]`.
//! Prints p50 and p99 of a commit, of a round trip over the socket, and of the way from a commit to a watcher.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogbank_store::remote::{Client, Server};
use fogbank_store::{Embedded, Memory, Op, Result, Revision, Store, Txn};

const ROUNDS: usize = 2000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let file = folder.join(format!("latency-{}.redb", std::process::id()));
    let memory: Arc<dyn Store> = Arc::new(Memory::new());
    measure("memory", &*memory).await?;
    remote("memory over a socket", &folder, Arc::clone(&memory)).await?;
    let embedded: Arc<dyn Store> = Arc::new(Embedded::open(&file)?);
    measure("embedded", &*embedded).await?;
    remote("embedded over a socket", &folder, Arc::clone(&embedded)).await?;
    grouped(&embedded).await?;
    drop(embedded);
    let begun = Instant::now();
    let reopened = Embedded::open(&file)?;
    println!(
        "{:<44} {:?} for {} rows",
        "embedded, open again",
        begun.elapsed(),
        reopened.list("").await?.0.len()
    );
    println!(
        "{:<44} {} KiB",
        "embedded, file",
        std::fs::metadata(&file).map_or(0, |found| found.len()) / 1024
    );
    drop(reopened);
    let _ = std::fs::remove_file(&file);
    Ok(())
}

fn txn(round: usize) -> Txn {
    let value = vec![b'x'; 500];
    Txn::of(vec![
        Op::put(format!("task/{:03}", round % 500), &value[..]),
        Op::put("clock", &value[..100]),
    ])
}

async fn measure(name: &str, store: &dyn Store) -> Result<()> {
    let mut commits = Vec::new();
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let _ = store.txn(txn(round)).await?;
        commits.push(begun.elapsed());
    }
    report(&format!("{name}: commit"), commits);
    let mut gets = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        store.get("clock").await?;
        gets.push(begun.elapsed());
    }
    report(&format!("{name}: get"), gets);
    let mut lists = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        store.list("task/").await?;
        lists.push(begun.elapsed());
    }
    report(&format!("{name}: list of 500 rows"), lists);
    let mut watched = Vec::new();
    let (_, revision) = store.list("none").await?;
    let mut watch = store.watch(revision).await?;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let seen = async { watch.next().await.map(|_| begun.elapsed()) };
        let (seen, committed) = tokio::join!(seen, store.txn(txn(round)));
        let _ = committed?;
        watched.push(seen?);
    }
    report(&format!("{name}: commit to watcher"), watched);
    Ok(())
}

/// The server on a thread of its own, as in `control`.
async fn remote(name: &str, folder: &Path, store: Arc<dyn Store>) -> Result<()> {
    let path = folder.join(format!("latency-{}.sock", std::process::id()));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (bound, is_bound) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn({
        let path = path.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let server = Server::bind(&path, store).expect("a socket");
                let _ = bound.send(());
                tokio::select! { _ = server.run() => {}, _ = stopped => {} }
            });
        }
    });
    let _ = is_bound.await;
    measure(name, &Client::connect(&path)).await?;
    drop(stop);
    let _ = thread.join();
    Ok(())
}

/// Writers at once share commits.
async fn grouped(store: &Arc<dyn Store>) -> Result<()> {
    const WRITERS: usize = 16;
    let begun = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(store);
        writers.spawn(async move {
            let mut last: Revision = 0;
            for round in 0..ROUNDS / WRITERS {
                if let fogbank_store::TxnOutcome::Committed(revision) =
                    store.txn(txn(writer + round)).await?
                {
                    last = revision;
                }
            }
            Ok(last)
        });
    }
    while let Some(written) = writers.join_next().await {
        written.expect("a writer does not panic")?;
    }
    println!(
        "{:<44} {:?} each",
        "embedded: 16 writers at once",
        begun.elapsed() / ROUNDS as u32
    );
    Ok(())
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "{name:<44} p50 {:>9.1?}  p99 {:>9.1?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}
