// The text on the page whose colour stands out too little, with the ratio of WCAG 2.2 (1.4.3).
const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
const light = (colour) => {
  const [r, g, b] = parse(colour).map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return getComputedStyle(at).backgroundColor;
  }
  return "rgb(255, 255, 255)";
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const poor = [];
let measured = 0;
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !element.checkVisibility() || element.tagName === "SCRIPT") continue;
  const [over, under] = [light(getComputedStyle(element).color), light(behind(element))];
  const ratio = (Math.max(over, under) + 0.05) / (Math.min(over, under) + 0.05);
  measured += 1;
  if (ratio < 4.5) poor.push(`${texts.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
}
return [measured, poor];
