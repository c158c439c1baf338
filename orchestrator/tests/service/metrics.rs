//! What Prometheus is told: each metric, and whether it is true.

use crate::common::{
    Outcome, Server, eventually, find_program, need_cgroups, need_containers, need_program, rootfs,
    send,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

crate::tests![
    each_metric_is_there_and_is_of_its_kind,
    containers_are_counted_by_status,
    a_container_is_told_with_its_limits_and_what_it_uses,
    the_host_is_told_as_it_is,
    requests_are_counted_and_timed,
    prometheus_can_read_all_of_it,
];

/// The values, by name and labels as they are written.
fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let text = server.get("/metrics").text;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let values = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    values.collect()
}

/// One running container with all limits, so that there is nothing that cannot be told.
fn with_a_limited_container() -> Server {
    let server = Server::start();
    let body = json!({
        "name": "web", "rootfs": rootfs(), "args": ["sh", "-c", "sleep 100 & while :; do :; done"],
        "memory": "64M", "cpus": "20%", "pids": 20,
    });
    server.post("/containers", &body).data();
    let start = json!({"strict": true});
    server.post("/containers/web/start", &start).data();
    server
}

fn each_metric_is_there_and_is_of_its_kind() -> Outcome {
    need_containers()?;
    need_cgroups()?;
    let server = with_a_limited_container();
    server.get("/health").data();
    let text = server.get("/metrics").text;
    let types = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE minirun_"));
    let mut types: Vec<_> = types.collect();
    types.sort_unstable();
    let wanted = [
        "api_request_seconds histogram",
        "api_requests_total counter",
        "api_store_up gauge",
        "api_uptime_seconds gauge",
        "broken_records gauge",
        "build_info gauge",
        "container_cpu_limit_cores gauge",
        "container_cpu_periods_total counter",
        "container_cpu_seconds_total counter",
        "container_cpu_throttled_periods_total counter",
        "container_cpu_throttled_seconds_total counter",
        "container_memory_bytes gauge",
        "container_memory_limit_bytes gauge",
        "container_oom_kills_total counter",
        "container_pids gauge",
        "container_pids_limit gauge",
        "container_processes gauge",
        "container_restarts_total counter",
        "container_start_time_seconds gauge",
        "containers gauge",
        "host_cores gauge",
        "host_cpu_seconds_total counter",
        "host_filesystem_available_bytes gauge",
        "host_filesystem_bytes gauge",
        "host_load1 gauge",
        "host_load15 gauge",
        "host_load5 gauge",
        "host_memory_available_bytes gauge",
        "host_memory_bytes gauge",
        "host_swap_bytes gauge",
        "host_swap_free_bytes gauge",
        "host_tasks gauge",
        "host_uptime_seconds gauge",
    ];
    assert_eq!(types, wanted);
    Ok(())
}

fn containers_are_counted_by_status() -> Outcome {
    need_containers()?;
    need_cgroups()?;
    let server = Server::start();
    let none = json!({});
    for name in ["a", "b", "c"] {
        server.create(name, "true");
    }
    for name in ["runs", "runs-too", "stands", "ended"] {
        server.run(name, "sleep 100");
    }
    server.post("/containers/stands/pause", &none).data();
    server.post("/containers/ended/kill", &none).data();
    let body = json!({"name": "bad", "rootfs": rootfs(), "args": ["/no/such"]});
    server.post("/containers", &body).data();
    server.post("/containers/bad/start", &none).error(422);
    std::fs::write(server.home().join("containers/torn.json"), "{").unwrap();
    let told = scrape(&server);
    for (status, number) in [
        ("created", 3.0),
        ("running", 2.0),
        ("paused", 1.0),
        ("stopped", 1.0),
        ("failed", 1.0),
    ] {
        let name = format!("minirun_containers{{status=\"{status}\"}}");
        assert_eq!(told[&name], number, "{status}");
    }
    assert_eq!(told["minirun_broken_records"], 1.0);
    Ok(())
}

fn a_container_is_told_with_its_limits_and_what_it_uses() -> Outcome {
    need_containers()?;
    need_cgroups()?;
    let server = with_a_limited_container();
    server.create("idle", "true");
    let of = |told: &BTreeMap<String, f64>, name: &str| {
        told[&format!("minirun_container_{name}{{name=\"web\"}}")]
    };
    let first = scrape(&server);
    let told = eventually("it runs, and has to wait at its limit", || {
        let told = scrape(&server);
        let grows = |name: &str| of(&told, name) > of(&first, name);
        let both = grows("cpu_throttled_seconds_total") && grows("cpu_seconds_total");
        both.then_some(told)
    });
    for (name, value) in [
        ("memory_limit_bytes", (64 << 20) as f64),
        ("cpu_limit_cores", 0.2),
        ("pids_limit", 20.0),
        ("processes", 2.0),
        ("pids", 2.0),
        ("restarts_total", 0.0),
        ("oom_kills_total", 0.0),
    ] {
        assert_eq!(of(&told, name), value, "{name}");
    }
    let memory = of(&told, "memory_bytes");
    assert!(memory > 0.0 && memory < (64 << 20) as f64, "{memory}");
    let (periods, throttled) = (
        of(&told, "cpu_periods_total"),
        of(&told, "cpu_throttled_periods_total"),
    );
    assert!(
        throttled > 0.0 && throttled <= periods,
        "{throttled} of {periods}"
    );
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let age = now - of(&told, "start_time_seconds");
    assert!((0.0..60.0).contains(&age), "{age}");
    assert!(
        !told.keys().any(|name| name.contains("name=\"idle\"")),
        "it uses nothing"
    );
    Ok(())
}

fn the_host_is_told_as_it_is() -> Outcome {
    let server = Server::start();
    let told = scrape(&server);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        told[&format!("minirun_build_info{{version=\"{version}\"}}")],
        1.0
    );
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!(told["minirun_host_cores"] >= cores as f64);
    let system = nix::sys::sysinfo::sysinfo().unwrap();
    assert_eq!(told["minirun_host_memory_bytes"], system.ram_total() as f64);
    let up = system.uptime().as_secs_f64() - told["minirun_host_uptime_seconds"];
    assert!(up.abs() < 60.0, "{up}");
    let disk = nix::sys::statvfs::statvfs(&server.home()).unwrap();
    let path = server.home().display().to_string();
    let size = told[&format!("minirun_host_filesystem_bytes{{path=\"{path}\"}}")];
    assert_eq!(size, (disk.blocks() * disk.fragment_size()) as f64);
    let user = |told: &BTreeMap<String, f64>| told["minirun_host_cpu_seconds_total{mode=\"user\"}"];
    eventually("somebody works", || {
        (user(&scrape(&server)) > user(&told)).then_some(())
    });
    Ok(())
}

fn requests_are_counted_and_timed() -> Outcome {
    need_containers()?;
    let began = Instant::now();
    let server = Server::start();
    server.run("web", "sleep 100");
    for _ in 0..3 {
        server.get("/containers/web").data();
    }
    server.get("/nowhere").error(404);
    server.get("/containers/web/wait?timeout=1").data();
    send("PUT", &format!("{}/containers", server.url), &[], Some(""));
    let told = scrape(&server);
    let wanted = [
        ("GET", "/containers/{name}", 200, 3.0),
        ("GET", "/containers/{name}/wait", 200, 1.0),
        ("GET", "none", 404, 1.0),
        ("POST", "/containers", 201, 1.0),
        ("POST", "/containers/{name}/start", 200, 1.0),
        ("other", "/containers", 405, 1.0),
    ];
    let counted = |told: &BTreeMap<String, f64>| -> f64 {
        let counts = told
            .iter()
            .filter(|(name, _)| name.starts_with("minirun_api_requests_total{"));
        counts.map(|(_, count)| count).sum()
    };
    for (method, route, status, count) in wanted {
        let name = format!(
            "minirun_api_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"
        );
        assert_eq!(told.get(&name), Some(&count), "{name} in {told:#?}");
    }
    assert_eq!(counted(&told), 8.0, "and no others");
    // Who is counted is timed: one took a second, all others together less than this test.
    let most = |most: &str| told[&format!("minirun_api_request_seconds_bucket{{le=\"{most}\"}}")];
    let bounds = [
        "0.001", "0.0025", "0.005", "0.01", "0.025", "0.1", "0.5", "2.5", "10", "+Inf",
    ];
    let counts = bounds.map(most);
    assert!(counts.is_sorted(), "{counts:?}");
    assert!(most("0.5") < most("10"), "{counts:?}");
    assert!(most("0.1") > 0.0, "{counts:?}");
    assert_eq!(
        (most("+Inf"), told["minirun_api_request_seconds_count"]),
        (8.0, 8.0)
    );
    let (sum, up) = (
        told["minirun_api_request_seconds_sum"],
        told["minirun_api_uptime_seconds"],
    );
    let took = began.elapsed().as_secs_f64();
    assert!(1.0 <= sum && sum <= took, "{sum} of {took}");
    assert!(sum <= up && up <= took, "{sum} of {up} of {took}");
    assert_eq!(told["minirun_api_store_up{storage=\"json\"}"], 1.0);
    assert_eq!(
        counted(&scrape(&server)),
        9.0,
        "itself, when it was answered"
    );
    Ok(())
}

fn prometheus_can_read_all_of_it() -> Outcome {
    need_containers()?;
    need_program("promtool")?;
    let server = Server::start();
    server.run("web", "while :; do :; done");
    let reply = server.get("/metrics");
    let kind = Some("text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(reply.header("content-type"), kind);
    let mut check = Command::new(find_program("promtool").unwrap());
    check.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut check = check.spawn().unwrap();
    let mut input = check.stdin.take().unwrap();
    input.write_all(reply.text.as_bytes()).unwrap();
    drop(input);
    assert!(check.wait().unwrap().success());
    Ok(())
}
