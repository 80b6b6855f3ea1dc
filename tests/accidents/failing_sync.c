/* Runs a program of which one fsync or fdatasync fails, once, with EIO:
 *
 *     failing_sync N program arguments ...        the N-th of all its threads, counted from 1
 *
 * The kernel asks a child of this process about each sync (seccomp(2), user notification), so it
 * works for programs that call the kernel without the C library, too. With N = 0 none fails until
 * the child is sent SIGUSR1; then the next one does. Its process id is printed first.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile sig_atomic_t fails_next;

static void fail_next(int signal) {
  (void)signal;
  fails_next = 1;
}

static int install_filter(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fsync, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fdatasync, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                      &program);
}

/* Answers every sync of the program until that is gone. */
static void answer(int listener, long fails_at) {
  struct sigaction action = {.sa_handler = fail_next};
  sigaction(SIGUSR1, &action, NULL);
  for (long count = 1;; count++) {
    struct seccomp_notif asked;
    memset(&asked, 0, sizeof asked);
    while (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) {
      if (errno != EINTR) return;
    }
    struct seccomp_notif_resp reply = {.id = asked.id};
    if (count == fails_at || fails_next) {
      fails_next = 0;
      reply.error = -EIO;
    } else {
      reply.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    }
    /* ENOENT: the caller was killed in the meantime. */
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
  }
}

int main(int count, char **words) {
  if (count < 3) {
    fprintf(stderr, "usage: failing_sync N program arguments ...\n");
    return 2;
  }
  int listener = install_filter();
  if (listener < 0) {
    perror("failing_sync: seccomp");
    return 2;
  }
  pid_t parent = getpid();
  pid_t child = fork();
  if (child < 0) {
    perror("failing_sync: fork");
    return 2;
  }
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) return 0;
    answer(listener, atol(words[1]));
    return 0;
  }
  close(listener);
  printf("%d\n", (int)child);
  fflush(stdout);
  execvp(words[2], words + 2);
  perror(words[2]);
  return 2;
}
