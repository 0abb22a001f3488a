// Our own score of the OOM killer while we start processes that must not inherit it.
//
// A child gets a copy of our score when it is made, and one that shares our memory until it
// executes (spawn.h) gets whatever we write meanwhile: the kernel keeps the scores of all who share
// a memory the same. So a child cannot write its own; ours is 0 from before the first one is made
// until the last one has a memory of its own, and what it was from then on.
//
//   apart --lower--> as children's --restore, one still shares our memory--> as children's
//                                  --restore, none does--> apart
//
// Where our score is 0 anyway, or nobody tells us who shares our memory (kcmp, which a kernel may
// lack and a container forbid), it stays as a child's.
//
// Sources: proc(5) on oom_score_adj, kcmp(2), __set_oom_adj in the kernel's fs/proc/base.c.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "init/base/fd.h"

namespace muster::services {

class OomScore {
  public:
    // What it is now is what it will be again.
    OomScore();

    // Before a child is made.
    void as_children();
    // A child that was made, once it is about to have executed or ended.
    void leaving(pid_t child);
    // No child is on its way to execute but those that are leaving, for whom it waits, which takes
    // microseconds; if one takes longer, the next call of this does it.
    void restore();

  private:
    void forget_those_who_left();

    Fd file_; // invalid: the score stays as it is
    std::string own_;
    bool as_children_ = false;
    std::vector<pid_t> leaving_;
};

} // namespace muster::services
