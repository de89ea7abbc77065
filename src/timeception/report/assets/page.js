"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Set();
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return { text: of("--text"), line: of("--line") };
  };
  const themed = (layout) => {
    const { text, line } = colours();
    const result = { ...layout, autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
    result.font = { ...layout.font, color: text, size: 12 };
    result.hoverlabel = { namelength: 40 };
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis/.test(key)) result[key] = { ...layout[key], gridcolor: line, zerolinecolor: line, linecolor: line };
    }
    return result;
  };
  const draw = (element) => {
    const figure = figures[Number(element.id.slice(1))];
    drawn.add(element);
    Plotly.react(element, figure.data, themed(figure.layout), { responsive: true, displaylogo: false, displayModeBar: false });
  };
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      observer.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "300px" });
  document.querySelectorAll(".chart").forEach((element) => observer.observe(element));
  dark.addEventListener("change", () => drawn.forEach(draw));
  addEventListener("beforeprint", () => document.querySelectorAll(".chart").forEach(draw));

  document.querySelectorAll("select[data-chart]").forEach((select) => {
    const number = Number(select.dataset.chart);
    select.addEventListener("change", () => {
      figures[number].data.forEach((trace, index) => { trace.visible = index === select.selectedIndex; });
      draw(document.getElementById("c" + number));
    });
  });

  document.querySelectorAll("thead button").forEach((button) => {
    button.addEventListener("click", () => {
      const head = button.parentElement, row = head.parentElement;
      const column = [...row.children].indexOf(head);
      const rising = head.getAttribute("aria-sort") === "descending" || (column === 0 && !head.hasAttribute("aria-sort"));
      [...row.children].forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const body = row.parentElement.parentElement.tBodies[0];
      const value = (line) => line.children[column].dataset.v;
      const sign = rising ? 1 : -1;
      [...body.rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === undefined && y === undefined) return sign * a.children[column].textContent.localeCompare(b.children[column].textContent);
        if (x === undefined) return 1;
        if (y === undefined) return -1;
        return sign * (Number(x) - Number(y));
      }).forEach((line) => body.append(line));
    });
  });
})();
