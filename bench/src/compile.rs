//! Time of one compilation after one route changed, in this process, without store and network.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;
use tidegate_compiler::{Compiler, Object, Pooling, Settings};

use crate::objects;

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Routes that are in place
    #[arg(long, value_delimiter = ',', default_value = "1,1000,10000")]
    routes: Vec<usize>,
    /// Changes, one compilation after each
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// Hosts that those routes are spread over
    #[arg(long, default_value_t = 1000)]
    hosts: usize,
}

/// Prints a row for each number of routes.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    println!("routes  all_ms  one_p50_ms  one_max_ms");
    for routes in &options.routes {
        println!("{}", measure(*routes, options)?);
    }
    Ok(())
}

fn measure(routes: usize, options: &Options) -> anyhow::Result<String> {
    let mut compiler = Compiler::new(Settings {
        addresses: vec![],
        controller_name: "tidegate.dev/gateway-controller".to_owned(),
        pooling: Pooling::Single {
            pool: "bench".to_owned(),
        },
    });
    let mut all = objects::base(8080, ([127, 0, 0, 1], 3000).into());
    all.extend(objects::spread(routes, options.hosts));
    let started = Instant::now();
    for object in &all {
        put(&mut compiler, object)?;
    }
    let parts: usize = compiler
        .compile()
        .pools
        .values()
        .map(|parts| parts.len())
        .sum();
    anyhow::ensure!(parts > routes, "{parts} parts cannot hold {routes} routes");
    let whole = started.elapsed();
    let mut times = Vec::with_capacity(options.rounds);
    for round in 0..options.rounds {
        let mut route = objects::spread(1, options.hosts).next().expect("one route");
        route["spec"]["rules"][0]["backendRefs"][0]["weight"] = Value::from(round + 1);
        let started = Instant::now();
        put(&mut compiler, &route)?;
        let compilation = compiler.compile();
        times.push(started.elapsed());
        drop(compilation);
    }
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    Ok(format!(
        "{routes:6}  {:6.1}  {:10.2}  {:10.2}",
        ms(whole),
        ms(median),
        ms(longest)
    ))
}

fn put(compiler: &mut Compiler, object: &Value) -> anyhow::Result<()> {
    let key = objects::key(object);
    let object = Object {
        key: key.into(),
        uid: String::new(),
        generation: 1,
        created_at_unix_s: 1_700_000_000,
        content: object.to_string().into(),
    };
    let refused = |invalid: Vec<tidegate_compiler::InvalidField>| anyhow::anyhow!("{invalid:?}");
    compiler.put(object).map_err(refused)
}
