// Configuration scripts: parsing and running (reference 3.5; README.md in this folder).
//
// Text becomes a Script, an immutable tree, or some Problems. A Script runs in a facet of its own
// under the current one: what it asserts, observes and waits for lives as long as that facet. A
// run-time error (an undefined variable, a target that is no capability) is reported and stops the
// facet in which it happened: the file's, or that of one match of `?` or `??`.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "init/config/environment.h"
#include "init/config/form.h"
#include "init/dataspace/actor.h"

namespace muster::config {

struct Instruction;

// Where a script comes from. Its places can be brought up to date while it runs: two texts with
// the same content give the same places in the same order.
struct Source : Counted {
    std::string file;      // as problems name it
    std::string directory; // what `scriptdir` gives
    std::vector<Location> places;
};

// Tells what is wrong with a value that a script asserts: the parts of it, and why. Other values
// than those it knows are fine.
using Check = std::function<std::vector<std::pair<View, std::string>>(View asserted)>;

class Script : public Counted {
  public:
    // `file` and `directory` are only names here: nothing is read. On failure empty, with the
    // problems in the order of the text: after one, parsing goes on with the next instruction, but
    // not past what is no Preserves text.
    // What `check` finds in an assertion without variables is such a problem; in one with
    // variables, a run-time error.
    static Ref<Script> parse(std::string_view text, std::string file, std::string directory,
                             std::vector<Problem>& problems, Check check = {});
    ~Script() override;

    // Whether the other says the same, comments and layout aside.
    bool same_content(const Script& other) const { return content_ == other.content_; }
    // Takes over the places of one with the same content, for the messages to come.
    void take_places(Script& other) { source_->places.swap(other.source_->places); }

    const Ref<Source>& source() const { return source_; }
    const Instruction& root() const { return *root_; }
    const Check& check() const { return check_; }

  private:
    Script();
    Digest content_{};
    Ref<Source> source_;
    std::unique_ptr<Instruction> root_;
    Check check_;
};

// Told about each run-time error, in the turn in which it happened.
using ReportInTurn = std::function<void(dataspace::Turn&, const Problem&)>;

// How many facets may live at once in one script because something matched, and begin in one turn.
// With one more it is stopped, and that is reported: reacting to what one does oneself can go on
// for ever.
inline constexpr size_t max_reactions = 10'000;

// The name of the variable that is the target at the beginning of a file.
inline constexpr std::string_view initial_target = "config";

// A script in execution.
//
// Normally its effects are immediate. A *rehearsal* is how one version of a script takes over from
// another without a blink: it is executed, its `?` observe and their bodies run, but what it would
// assert, send or wait for (`??`) elsewhere is held back, until `release` lets all of it out in
// one turn. Whoever stops the old version in that same turn makes the change as one step.
struct Running {
    Ref<dataspace::Facet> facet; // stop it to end the script
    Ref<Counted> run;            // what holds it together
    bool failed = false;         // an error stopped it at once
};

// Runs `script` in a new facet under the current one. The facet stays even if there is nothing in
// it, until it is stopped, unless an error or the script itself (`facet`) stops it. With a
// predecessor, which may be empty, it is a rehearsal, and capabilities that the two narrow in the
// same way are the same.
Running run_script(dataspace::Turn& turn, const Ref<Script>& script, const Environment& environment,
                   ReportInTurn report, const Running* predecessor = nullptr,
                   size_t most_reactions = max_reactions);

// Ends the rehearsal (nothing if it is none).
void release(dataspace::Turn& turn, const Running& running);

// How many turns of the engine's queue a rehearsal needs until the bodies of `?` on dataspaces of
// this process have run.
size_t rehearsal_turns(const Script& script);

} // namespace muster::config
