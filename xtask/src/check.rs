//! `cargo xtask check`: format, lints with warnings denied, walls, and a few rules of tidiness.

use crate::{shell, walls};
use anyhow::{Result, bail};

/// A file beyond this holds more than one thing.
const LINES_MAX: usize = 1000;

pub fn run() -> Result<()> {
    shell::run(&mut shell::cargo(&["fmt", "--all", "--check"]))?;
    let problems: Vec<String> = walls::violations(&shell::root())?
        .into_iter()
        .chain(untidy()?)
        .collect();
    if !problems.is_empty() {
        bail!("{}", problems.join("\n       "));
    }
    println!("walls: none crossed");
    shell::run(&mut shell::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    println!("check: all good");
    Ok(())
}

fn untidy() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (path, text) in walls::sources(&shell::root())? {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            problems.push(format!(
                "{} has {lines} lines; {LINES_MAX} are the most",
                path.display()
            ));
        }
        let unfinished = [concat!("to", "do!("), concat!("unimpl", "emented!(")];
        if unfinished.iter().any(|mark| text.contains(mark)) {
            problems.push(format!("{} is unfinished", path.display()));
        }
    }
    Ok(problems)
}
