//! Builds what is C: the programs `librdkafka` and `librdkafka_consumer`, whose `main` is C, and a library that counts
//! allocations.

use std::env::var;
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=native");
    // Without its peers, ottla needs no C.
    if var("CARGO_FEATURE_PEERS").is_err() {
        return Ok(());
    }
    let out = PathBuf::from(var("OUT_DIR")?);
    let compiler = var("CC").unwrap_or_else(|_| "cc".to_owned());

    let headers = PathBuf::from(var("DEP_RDKAFKA_ROOT")?).join("src");
    for (program, source) in [("librdkafka", "producer.c"), ("librdkafka_consumer", "consumer.c")] {
        let object = out.join(source).with_extension("o");
        run(Command::new(&compiler)
            .args(["-std=gnu11", "-O2", "-g1", "-Wall", "-Wextra", "-c"])
            .arg(format!("native/{source}"))
            .arg("-I")
            .arg(&headers)
            .arg("-o")
            .arg(&object))?;
        println!("cargo:rustc-link-arg-bin={program}={}", object.display());
    }

    let counter = out.join("allocations.so");
    run(Command::new(&compiler)
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "native/allocations.c", "-o"])
        .arg(&counter))?;
    println!("cargo:rustc-env=ALLOCATION_COUNTER={}", counter.display());
    Ok(())
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    match command.status()?.success() {
        true => Ok(()),
        false => Err(format!("{command:?} did not work").into()),
    }
}
