//! `cargo xtask protocol VERSION`: what another Kafka release has changed in the protocol since the one that the wire
//! table is written after. Fetches its jars; the comparison itself is an example of `ottla-wire`.

use crate::home::Home;
use crate::process::run as run_to_end;
use crate::{Outcome, USAGE, test, tools};

pub(crate) fn run(args: &[String]) -> Outcome {
    let [version] = args else { return Err(USAGE.to_owned()) };
    let home = Home::find()?;
    tools::java()?;
    let libs = tools::schemas(&home, version)?;
    println!("Kafka {version} and the table, which follows Kafka {}:", tools::NEWEST);
    let mut cargo = test::cargo(&home);
    run_to_end(cargo.args(["run", "--quiet", "-p", "ottla-wire", "--example", "protocol", "--"]).arg(libs))
}
