//! A plot of seconds, on a logarithmic axis, over load, as SVG.

pub struct Line {
    pub name: &'static str,
    /// Load in per cent, and seconds.
    pub points: Vec<(f64, f64)>,
}

const COLOURS: [&str; 4] = ["#0a7d4f", "#c0392b", "#d68910", "#7d3c98"];
const LEFT: f64 = 70.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 370.0;
/// From a tenth of a second to ten thousand.
const DECADES: (f64, f64) = (-1.0, 4.0);

fn x(load: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * load / 100.0
}

fn y(seconds: f64) -> f64 {
    let part = (seconds.log10().clamp(DECADES.0, DECADES.1) - DECADES.0) / (DECADES.1 - DECADES.0);
    BOTTOM - (BOTTOM - TOP) * part
}

pub fn plot(lines: &[Line]) -> String {
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 420\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"720\" height=\"420\" fill=\"white\"/>\n\
         <text x=\"70\" y=\"25\" font-size=\"15\">From a job's coming to its end, 99 in 100 jobs, in seconds</text>\n",
    );
    for decade in -1..=4 {
        let (seconds, at) = (10_f64.powi(decade), y(10_f64.powi(decade)));
        svg.push_str(&format!("<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#ddd\"/>\n"));
        svg.push_str(&format!("<text x=\"60\" y=\"{:.1}\" text-anchor=\"end\">{seconds}</text>\n", at + 4.0));
    }
    for load in (0..=100).step_by(20) {
        let at = x(f64::from(load));
        svg.push_str(&format!("<text x=\"{at:.1}\" y=\"390\" text-anchor=\"middle\">{load}</text>\n"));
    }
    svg.push_str(
        "<text x=\"380\" y=\"411\" text-anchor=\"middle\">ids that come, in per cent of 300 a second: 3 full calls</text>\n",
    );
    for (place, line) in lines.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let points: Vec<_> =
            line.points.iter().map(|(load, seconds)| format!("{:.1},{:.1}", x(*load), y(*seconds))).collect();
        svg.push_str(&format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"/>\n",
            points.join(" ")
        ));
        let at = TOP + 12.0 + 20.0 * place as f64;
        svg.push_str(&format!("<path d=\"M85 {at}h24\" stroke=\"{colour}\" stroke-width=\"2.5\"/>\n"));
        svg.push_str(&format!("<text x=\"116\" y=\"{}\">{}</text>\n", at + 4.0, line.name));
    }
    svg.push_str("</svg>\n");
    svg
}
