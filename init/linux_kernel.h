// The real Kernel: Linux.
#pragma once

#include "init/kernel.h"

namespace muster::pid1 {

class LinuxKernel final : public Kernel {
  public:
    // `state_fd` is the memfd of the state. `arguments`, ended by nullptr, are what the init of a
    // new root is given after its name.
    LinuxKernel(int state_fd, char* const* arguments)
        : state_fd_(state_fd), arguments_(arguments) {}

    // Whoever opens our output anew, as the main service of a container does, writes behind what is
    // there, and so do we, also if it is a file.
    static void share_output();
    // stdin, stdout and stderr of a machine's init become /dev/console, and messages go there
    // through a descriptor that does not block; /dev/kmsg without a console. Not in a container.
    void open_console();

    std::int64_t now_ms() override;
    pid_t look(Exited& exited) override;
    void reap(pid_t pid) override;
    int kill(pid_t pid, int signal) override;
    pid_t start(Helper helper, const State& state, int fd) override;
    int check_new_root(const records::SwitchRoot& to, const State& state) override;
    int switch_root(const records::SwitchRoot& to, State& state) override;
    int become(const char* program, State& state) override;
    int end(records::Action action, int exit_status, bool container) override;
    int mount(const char* source, const char* target, const char* type, unsigned long flags,
              const char* data) override;
    int make_directory(const char* path, unsigned mode) override;
    long file_system(const char* path) override;
    int is_mount_point(const char* path) override;
    int make_symlink(const char* target, const char* path) override;
    int make_device(const char* path, unsigned mode, unsigned major, unsigned minor) override;
    int write_file(const char* path, std::string_view text) override;
    std::uint64_t inode(const char* path) override;
    void print(std::string_view line) override;

  private:
    int state_fd_;
    char* const* arguments_;
    int console_ = 2; // where messages go
};

} // namespace muster::pid1
