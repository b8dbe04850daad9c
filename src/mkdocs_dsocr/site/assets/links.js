// Lets a theme that replaces content resolve the links of charts too: it assigns each address anew,
// which a link of SVG does not allow, and would stop there. Every page runs this before the theme's
// script, and a page that has no charts after it, for those that follow.
{
  const address = Object.getOwnPropertyDescriptor(SVGAElement.prototype, "href");
  Object.defineProperty(SVGAElement.prototype, "href", {
    ...address,
    set(value) {
      this.setAttribute("href", value.baseVal ?? value);
    },
  });
}
