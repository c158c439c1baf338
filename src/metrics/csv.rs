//! A reading as lines of comma-separated values, RFC 4180: one of the host, then one of each container. Both have
//! the same columns, and an empty field is what does not apply or is not known.

use super::{Container, Host, Sample};

/// The columns. Sizes are bytes, `cpu_seconds` is since the start of the host or the container.
pub const HEADER: &str = "time,kind,name,status,cpu_percent,cpu_seconds,cpu_limit,memory,memory_limit,swap,\
processes,pids,throttled_seconds,oom_kills,restarts,exit_code,load1,load5,load15,disk,disk_total";

/// The lines of a reading, each with its newline.
pub fn rows(sample: &Sample) -> String {
    let host = [row(&sample.time, "host", &host(&sample.host))];
    let containers = sample.containers.iter();
    let containers = containers.map(|one| row(&sample.time, "container", &container(one)));
    host.into_iter().chain(containers).collect()
}

/// The fields after time and kind.
type Fields = [String; 19];

fn host(host: &Host) -> Fields {
    let busy = host.cpu.modes().into_iter();
    let busy = busy.filter(|(mode, _)| !["idle", "iowait"].contains(mode));
    [
        host.name.clone(),
        String::new(),
        text(host.cpu_percent),
        seconds(busy.map(|(_, time)| time).sum()),
        host.cores.to_string(),
        host.memory_used().to_string(),
        host.memory_total.to_string(),
        host.swap_used().to_string(),
        String::new(),
        host.tasks.to_string(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        host.load[0].to_string(),
        host.load[1].to_string(),
        host.load[2].to_string(),
        host.disk.used().to_string(),
        host.disk.total.to_string(),
    ]
}

fn container(container: &Container) -> Fields {
    let stats = &container.usage.stats;
    [
        container.name.clone(),
        container.status.as_str().into(),
        text(container.usage.cpu_percent),
        stats.cpu_usec.map(seconds).unwrap_or_default(),
        text(stats.cpu_limit),
        text(stats.memory),
        text(stats.memory_limit),
        String::new(),
        text(stats.processes),
        text(stats.pids),
        stats.throttled_usec.map(seconds).unwrap_or_default(),
        container.oom_kills.to_string(),
        container.restarts.to_string(),
        text(container.exit_code),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
    ]
}

fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn seconds(microseconds: u64) -> String {
    (microseconds as f64 / 1e6).to_string()
}

fn row(time: &str, kind: &str, fields: &Fields) -> String {
    let fields = fields.iter().map(|field| quoted(field));
    let fields: Vec<_> = fields.collect();
    format!("{time},{kind},{}\n", fields.join(","))
}

/// A field in quotes if it has to be. A host may call itself anything.
fn quoted(field: &str) -> String {
    match field.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::sample;

    #[test]
    fn a_line_for_the_host_and_each_container() {
        let mut sample = sample();
        sample.host.name = "a \"big\", box".into();
        insta::assert_snapshot!(format!("{HEADER}\n{}", rows(&sample)), @r#"
        time,kind,name,status,cpu_percent,cpu_seconds,cpu_limit,memory,memory_limit,swap,processes,pids,throttled_seconds,oom_kills,restarts,exit_code,load1,load5,load15,disk,disk_total
        2026-11-24T03:00:00.250Z,host,"a ""big"", box",,15.79,1.5,2,3221225472,4294967296,0,,200,,,,,0.5,0.25,0.125,32212254720,42949672960
        2026-11-24T03:00:00.250Z,container,done,stopped,,,,,,,,,,0,0,3,,,,,
        2026-11-24T03:00:00.250Z,container,web,running,12.5,1.234567,0.5,16777216,67108864,,2,3,0.000077,1,2,,,,,,
        "#);
        let columns = HEADER.split(',').count();
        for row in rows(&sample).lines().skip(1) {
            assert_eq!(row.split(',').count(), columns, "{row}");
        }
    }
}
