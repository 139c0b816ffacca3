//! What another Kafka release has changed since the one that the table is written after.
//!
//! Its argument is the folder of that release's jars. `cargo xtask protocol VERSION` fetches them and runs this.

#[path = "../tests/java/schema.rs"]
mod schema;

use std::path::PathBuf;

fn main() {
    let libs = std::env::args_os().nth(1).expect("the folder of the jars");
    let lines = schema::lines(&PathBuf::from(libs));
    let (table, jars) = (schema::of_table(), schema::of_jars(&lines));
    let mut changed = 0;
    let mut report = |name: &str, key: Option<i16>, found: &[String]| {
        if !found.is_empty() {
            changed += 1;
            let key = key.map(|key| format!(" ({key})")).unwrap_or_default();
            println!("{name}{key}");
            found.iter().for_each(|line| println!("    {line}"));
        }
    };
    for (name, there) in &jars {
        match table.get(name) {
            Some(here) => report(name, there.key, &schema::differences(here, there)),
            None if schema::belongs(name, there, &jars) => {
                let mut found = vec![format!("new: {there}")];
                found.extend(there.fields.iter().map(ToString::to_string));
                report(name, there.key, &found);
            }
            None => {}
        }
    }
    let gone = table.iter().filter(|(name, _)| !jars.contains_key(*name));
    gone.for_each(|(name, here)| report(name, here.key, &["not there".to_owned()]));
    report("error codes", None, &schema::code_differences(&lines));
    println!("{changed} messages differ");
}
