// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What the pool needs of its tokens.
interface IStableToken {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// A pool of two tokens that should have the same price: between a constant sum and a constant product.
///
/// With amplification A and balances x and y, the invariant D solves 4A(x + y) + D = 4AD + D^3 / (4xy).
contract StablePool {
    /// 4A.
    uint256 public constant AMPLIFICATION = 400;
    /// A swap's fee, in hundredths of a percent; half of it is the pool's owner's.
    uint256 public constant FEE = 4;

    IStableToken[2] public tokens;
    uint256[2] public balances;
    uint256[2] public ownerFees;
    uint256 public totalShares;
    mapping(address account => uint256) public sharesOf;

    event Swapped(address indexed sender, uint256 from, uint256 amountIn, uint256 amountOut);
    event Added(address indexed sender, uint256[2] amounts, uint256 invariant, uint256 shares);
    event Removed(address indexed sender, uint256[2] amounts, uint256 shares);

    error TooLittle(uint256 amount, uint256 wanted);
    error NotConverging();
    error TransferFailed();

    constructor(IStableToken first, IStableToken second) {
        tokens = [first, second];
    }

    /// Sells `amountIn` of token `from` (0 or 1) for the other.
    function swap(uint256 from, uint256 amountIn, uint256 minimumOut) external returns (uint256 amountOut) {
        uint256 to = 1 - from;
        (uint256 balanceIn, uint256 balanceOut) = (balances[from], balances[to]);
        uint256 kept = _other(balanceIn + amountIn, _invariant(balanceIn, balanceOut));
        // One less, in the pool's favour.
        uint256 gross = balanceOut - kept - 1;
        uint256 fee = gross * FEE / 10_000;
        amountOut = gross - fee;
        if (amountOut < minimumOut) revert TooLittle(amountOut, minimumOut);
        balances[from] = balanceIn + amountIn;
        balances[to] = balanceOut - amountOut - fee / 2;
        ownerFees[to] += fee / 2;
        if (!tokens[from].transferFrom(msg.sender, address(this), amountIn)) revert TransferFailed();
        if (!tokens[to].transfer(msg.sender, amountOut)) revert TransferFailed();
        emit Swapped(msg.sender, from, amountIn, amountOut);
    }

    /// Adds both tokens in any ratio, for shares of the invariant.
    function add(uint256[2] calldata amounts) external returns (uint256 shares) {
        uint256 total = totalShares;
        uint256 before = total == 0 ? 0 : _invariant(balances[0], balances[1]);
        for (uint256 i = 0; i < 2; ++i) {
            balances[i] += amounts[i];
            if (!tokens[i].transferFrom(msg.sender, address(this), amounts[i])) revert TransferFailed();
        }
        uint256 invariant = _invariant(balances[0], balances[1]);
        shares = total == 0 ? invariant : total * (invariant - before) / before;
        if (shares == 0) revert TooLittle(0, 1);
        totalShares = total + shares;
        sharesOf[msg.sender] += shares;
        emit Added(msg.sender, amounts, invariant, shares);
    }

    /// Takes out the caller's part of both tokens.
    function remove(uint256 shares) external returns (uint256[2] memory amounts) {
        uint256 total = totalShares;
        sharesOf[msg.sender] -= shares;
        totalShares = total - shares;
        for (uint256 i = 0; i < 2; ++i) {
            amounts[i] = balances[i] * shares / total;
            balances[i] -= amounts[i];
            if (!tokens[i].transfer(msg.sender, amounts[i])) revert TransferFailed();
        }
        emit Removed(msg.sender, amounts, shares);
    }

    function _invariant(uint256 x, uint256 y) private pure returns (uint256 invariant) {
        uint256 sum = x + y;
        invariant = sum;
        for (uint256 round = 0; round < 64; ++round) {
            uint256 product = invariant * invariant / (2 * x) * invariant / (2 * y);
            uint256 next = (AMPLIFICATION * sum + 2 * product) * invariant
                / ((AMPLIFICATION - 1) * invariant + 3 * product);
            if (_near(next, invariant)) return next;
            invariant = next;
        }
        revert NotConverging();
    }

    /// The other balance that keeps the invariant.
    function _other(uint256 x, uint256 invariant) private pure returns (uint256 y) {
        uint256 c = invariant * invariant / (2 * x) * invariant / (2 * AMPLIFICATION);
        uint256 b = x + invariant / AMPLIFICATION;
        y = invariant;
        for (uint256 round = 0; round < 64; ++round) {
            uint256 next = (y * y + c) / (2 * y + b - invariant);
            if (_near(next, y)) return next;
            y = next;
        }
        revert NotConverging();
    }

    function _near(uint256 a, uint256 b) private pure returns (bool) {
        return a > b ? a - b <= 1 : b - a <= 1;
    }
}
