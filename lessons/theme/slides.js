// Arrow keys, space and Page Up/Down go from slide to slide; `n` shows and hides the notes.
const slides = [...document.querySelectorAll(".slide")];
const current = () => slides.findIndex((slide) => slide.getBoundingClientRect().bottom > innerHeight / 2);
const go = (step) => slides[Math.max(0, Math.min(slides.length - 1, current() + step))].scrollIntoView();
addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };
    if (event.key in steps) {
        event.preventDefault();
        go(steps[event.key]);
    } else if (event.key === "n") {
        document.body.classList.toggle("notes");
    }
});
