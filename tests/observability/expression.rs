//! PromQL as text: which series it names, and the same question for a run of a minute. It must not know who asks.

/// In a run of a minute a quarter of an hour is this long.
pub const WINDOW: &str = "8s";

/// The expression with every duration shortened and every variable of a dashboard filled in.
pub fn shortened(expression: &str) -> String {
    let mut text = expression.replace("$__rate_interval", WINDOW).replace("$__range", WINDOW);
    for variable in ["$account", "$worker", "$operation"] {
        text = text.replace(variable, ".*");
    }
    assert!(!text.contains('$'), "an unknown variable: {text}");
    for before in ["[", "offset "] {
        let mut parts = text.split(before);
        let mut short = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let unit = part[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
            let (duration, rest) = part.split_at(digits + unit);
            short.push_str(before);
            short.push_str(if digits > 0 { WINDOW } else { duration });
            short.push_str(rest);
        }
        text = short;
    }
    text
}

/// The series that an expression names.
pub fn series(expression: &str) -> Vec<String> {
    let bare = without(expression, '"', '"');
    let mut bare = without(&bare, '{', '}');
    for keyword in ["by (", "on(", "on (", "without ("] {
        while let Some(start) = bare.find(keyword) {
            let end = bare[start..].find(')').expect("a list of labels ends");
            bare.replace_range(start..start + end, " ");
        }
    }
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
    let mut found = Vec::new();
    let mut rest = bare.as_str();
    while let Some(start) = rest.find(part_of_name) {
        let word = &rest[start..];
        let (word, after) = word.split_at(word.find(|c| !part_of_name(c)).unwrap_or(word.len()));
        let is_series = word.contains(['_', ':']) || ["up", "ALERTS"].contains(&word);
        if is_series && !after.starts_with('(') {
            found.push(word.to_owned());
        }
        rest = after;
    }
    found
}

fn without(text: &str, opening: char, closing: char) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once(opening) {
        kept.push_str(before);
        (_, rest) = inside.split_once(closing).expect("what is opened is closed");
    }
    kept + rest
}

#[test]
fn an_expression_is_shortened_and_its_series_are_found() {
    let expression = r#"clamp_min(sum by (subscription_type, le) (rate(a_total{x="y_z", w=~"$worker"}[$__rate_interval])) / on(a_b)
        (job:a_b:max > 0), 1) or delta(up[1h]) unless on (c_d) b_count{a="1"} offset 15m"#;
    assert_eq!(series(&shortened(expression)), ["a_total", "job:a_b:max", "up", "b_count"]);
    let short = r#"clamp_min(sum by (subscription_type, le) (rate(a_total{x="y_z", w=~".*"}[8s])) / on(a_b)
        (job:a_b:max > 0), 1) or delta(up[8s]) unless on (c_d) b_count{a="1"} offset 8s"#;
    assert_eq!(shortened(expression), short);
}
