// Puts a player where a page has a recording. The recording is in the page: a file:// page may not fetch it.
for (const place of document.querySelectorAll(".recording")) {
    const cast = place.querySelector("script").textContent;
    AsciinemaPlayer.create({ data: cast }, place, { poster: "npt:9999", fit: "width", terminalFontFamily: "monospace" });
}
